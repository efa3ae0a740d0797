"""The main result in the README, between two markers: three sentences and a figure.

`python -m bench report` and `python -m bench run` write it from the records.
"""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.gain import sentences
from bench.report.sentences.caption import preset_label

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.gain import Gain

README = "README.md"
BEGIN, END = "<!-- begin: what came out, by `python -m bench report` -->", "<!-- end -->"
_LINE = 100


def headline(found: Gain) -> str:
    """Return the sentences, the figure and a note on the conditions, as Markdown."""
    first, second, third = sentences(found)
    value = found.path[1].difference
    size = "" if value is None else f", {value.seeds} seeds × {value.images} images"
    note = (
        f"mIoU of the masks of the training images, tags known; differences in points with 95 % "
        f"intervals over seeds and images. Preset `{preset_label(found.preset)}`{size}, commit "
        f"{', '.join(found.commits)}."
    )
    figure = "![From the seeds to the masks, step by step](results/figures/gain.png)"
    return "\n\n".join([_wrapped(f"**{first}** {second} {third}"), figure, _wrapped(note)])


def with_headline(readme: str, text: str) -> str:
    """Return a README whose part between the markers is `text`.

    Raises:
        BenchError: If the markers are missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"{README}: expected the lines {BEGIN!r} and {END!r}, found none")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def readme_of(root: Path) -> Path | None:
    """Return the README next to a results folder if it has the markers; otherwise None."""
    path = root.parent / README
    return path if path.exists() and BEGIN in path.read_text(encoding="utf-8") else None


def _wrapped(text: str) -> str:
    return "\n".join(wrap(text, _LINE, break_long_words=False, break_on_hyphens=False))
