"""Tables and figures of a study, made from its record files and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.caption import caption
from bench.effects import effects
from bench.errors import BenchError
from bench.factorial_summary import NOTE, factorial_summary
from bench.figure import FORMATS
from bench.figure_set import draw, drawings
from bench.markup import latex, markdown
from bench.reference import published_section
from bench.slots import config_id, plain_config
from bench.store import Store, write_atomically
from bench.summary import Summary, summarise
from bench.table import csv_text, curves_frame, effects_frame, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.effects import Effect
    from bench.record import RunRecord
    from bench.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a study's records say, and the generated files by path below the results folder."""

    study: Study
    records: tuple[RunRecord, ...]
    found: tuple[Effect, ...]
    summary: Summary
    more: tuple[Summary, ...]
    """Further tables."""
    notes: tuple[str, ...]
    files: dict[str, bytes]
    figures: dict[str, str]
    """What each figure shows, by name without suffix."""
    marks: dict[str, str]
    """What stands in the metadata of each figure while it is fresh, by path."""


def render(study: Study, store: Store) -> Report:
    """Build a study's tables and figures from its records.

    Raises:
        BenchError: If there are no records, a file is broken, or records do not belong together:
            a configuration the study no longer has, or different presets or conditions.
    """
    records = store.read_all(study.name, [variant.name for variant in study.rows])
    _check_fair(study, records)
    found = effects(study, records, store)
    summary, notes = summarise(study, records, found), caption(records)
    scores_csv = csv_text(tidy(records))
    effects_csv = csv_text(effects_frame(study, records, found))
    curves_csv = csv_text(curves_frame(records))
    rebuilt_by = f"python -m bench report {study.name}"
    texts = {
        f"tables/{study.name}.csv": scores_csv,
        f"tables/{study.name}_effects.csv": effects_csv,
        f"tables/{study.name}_curves.csv": curves_csv,
        f"tables/{study.name}.md": markdown(summary, notes, rebuilt_by=rebuilt_by)
        + published_section(store.root, study.published),
        f"tables/{study.name}.tex": latex(summary, notes, rebuilt_by=rebuilt_by),
    }
    factorial = factorial_summary(study, records, found)
    if factorial is not None:
        said = [NOTE, *notes]
        name = f"tables/{study.name}_factorial"
        texts[f"{name}.md"] = markdown(factorial, said, rebuilt_by=rebuilt_by)
        texts[f"{name}.tex"] = latex(factorial, said, rebuilt_by=rebuilt_by)
    files = {name: text.encode() for name, text in texts.items()}
    figures = drawings(study, records, scores=scores_csv, effects=effects_csv, curves=curves_csv)
    marks = {}
    for figure in figures:
        for format_ in FORMATS:
            name = f"figures/{figure.name}.{format_}"
            files[name], marks[name] = draw(figure, format_), figure.mark
    return Report(
        study=study,
        records=tuple(records),
        found=tuple(found),
        summary=summary,
        more=() if factorial is None else (factorial,),
        notes=notes,
        files=files,
        figures={figure.name: figure.shows for figure in figures},
        marks=marks,
    )


def write(report: Report, store: Store) -> list[Path]:
    """Write a report's files and return their paths."""
    for name, content in report.files.items():
        write_atomically(store.root / name, content)
    return [store.root / name for name in report.files]


def stale_files(report: Report, store: Store) -> list[str]:
    """Return the names of the files on disk that are not what the records say.

    Tables are compared byte by byte. Figures are compared by the hash of their data, because
    another version of the plotting library draws the same data with other bytes.
    """
    stale = []
    for name, content in report.files.items():
        path = store.root / name
        there = path.read_bytes() if path.exists() else b""
        mark = report.marks.get(name)
        fresh = there == content if mark is None else mark.encode() in there
        if not fresh:
            stale.append(name)
    return stale


def _check_fair(study: Study, records: Sequence[RunRecord]) -> None:
    if not records:
        raise BenchError(
            f"study {study.name!r}: expected run records, got none; "
            f"`python -m bench run {study.name}` makes them"
        )
    configs = {row.name: config_id(plain_config(row.config)) for row in study.rows}
    first = records[0]
    way_out = f"`python -m bench run {study.name} --preset {first.preset}` runs what is missing"
    for record in records:
        if record.config_id != configs[record.variant]:
            raise BenchError(
                f"{record.run_id}: expected config {configs[record.variant]}, "
                f"got {record.config_id} of an older study; {way_out}"
            )
        if (record.preset, record.conditions) != (first.preset, first.conditions):
            raise BenchError(
                f"{record.run_id}: preset {record.preset}, conditions {record.conditions}; "
                f"{first.run_id}: preset {first.preset}, conditions {first.conditions}; "
                f"runs of one table share protocol, data and weights: {way_out}"
            )
