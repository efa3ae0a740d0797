"""Files made from all studies of a results folder: table and figure of the gain, page, README."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.build import outdated, write_files
from bench.report.figures.gain import SHOWS, draw_gain
from bench.report.figures.set import Drawing, drawn
from bench.report.gain import gain
from bench.report.page.page import PAGE, page
from bench.report.sentences.headline import README, headline, readme_of, with_headline
from bench.runs.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.report.build import Report
    from bench.report.gain import Gain
    from bench.runs.store import Store


def renew(reports: Sequence[Report], store: Store) -> list[Path]:
    """Write the files about all studies, and return their paths.

    `reports` are those of all studies with records; their files must have been written before.
    """
    found = gain(reports, store)
    files, _ = _gain_files(found)
    paths = write_files(files, store)
    paths += write_files({PAGE: page(reports, store, found)}, store)
    for readme, _, renewed in _readmes(store.root, found):
        write_atomically(readme, renewed.encode())
        paths.append(readme)
    return paths


def stale(reports: Sequence[Report], store: Store) -> list[str]:
    """Return the names of the files about all studies that do not match the records."""
    found = gain(reports, store)
    files, marks = _gain_files(found)
    names = outdated(files, marks, store)
    if (store.root / PAGE).exists():  # a missing page is not stale, because `run` does not make one
        names += outdated({PAGE: page(reports, store, found)}, {}, store)
    return names + [README for _, text, renewed in _readmes(store.root, found) if text != renewed]


def _readmes(root: Path, found: Gain | None) -> list[tuple[Path, str, str]]:
    """The README with the main result: path, text, and text with the result of the records."""
    readme = readme_of(root)
    if readme is None or found is None:
        return []
    text = readme.read_text(encoding="utf-8")
    return [(readme, text, with_headline(text, headline(found)))]


def _gain_files(found: Gain | None) -> tuple[dict[str, bytes], dict[str, str]]:
    """Table and figures by path, and the metadata text of each up-to-date figure by path."""
    if found is None:
        return {}, {}
    drawing = Drawing(name="gain", source=found.csv, shows=SHOWS, paint=draw_gain)
    files, marks = drawn([drawing])
    return {"tables/gain.csv": found.csv.encode(), **files}, marks
