"""The figure of a study's effects with intervals, and what all figures share.

Only the modules of this folder use matplotlib and seaborn. The figure reads only
`<study>_effects.csv`, and the same file gives the same bytes. The SHA-256 of that file is in the
metadata of the figure, so that a stale figure is detected without drawing it again.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from functools import wraps
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report.sentences.caption import preset_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from matplotlib.axes import Axes

PANELS = (
    ("named", "Tested"),
    ("leave-one-out", "Leave one out"),
    ("cumulative", "Add one at a time"),
    ("main", "Main effects"),
    ("interaction", "Interactions"),
    ("variant", "Against the reference"),
)
WIDTH, PAGE_WIDTH = 3.5, 7.2
"""Widths in inches: of a column of a two-column page, and of the page."""
COLOURS = sns.color_palette("colorblind")
FORMATS = ("svg", "png")
SHOWS = "Differences of mIoU in points, with 95 % intervals over seeds and images."
_ROW, _PER_TASK, _MARGIN, _HEAD = 0.12, 0.1, 0.5, 0.8  # inches
_MARKERS = ("o", "s", "D", "^")
RC = {
    "svg.hashsalt": "weakclip",
    "font.family": ["DejaVu Sans"],
    "grid.color": "0.9",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def from_csv(paint: Callable[..., Figure]) -> Callable[..., bytes]:
    """A painter of a frame as a function of the text of its CSV file.

    The function also takes `format_`, `svg` or `png`, and returns the bytes of the figure, with the
    common style and the hash of the text.
    """

    @wraps(paint)
    def draw(csv: str, *, format_: str, **options: object) -> bytes:
        with theme():
            return save(paint(read(csv), **options), format_, fingerprint(csv))

    return draw


def read(csv: str) -> pd.DataFrame:
    """The frame of a CSV text, in which only empty fields are missing values."""
    return pd.read_csv(StringIO(csv), keep_default_na=False, na_values=[""])


@from_csv
def draw(frame: pd.DataFrame, *, tasks: Sequence[str]) -> Figure:
    """Effects on the mIoU of some tasks, one colour and marker each, from `<study>_effects.csv`.

    Raises:
        ValueError: If the file has no effect on these tasks.
    """
    shown = frame[frame["task"].isin(tasks) & (frame["metric"] == "miou")]
    if (shown["contrast"] != "variant").any():
        # beside other contrasts, rows that differ in several slots do not isolate a component
        several = shown["component"].astype(str).str.contains("+", regex=False)
        shown = shown[(shown["contrast"] != "variant") | ~several]
    panels = [(name, title) for name, title in PANELS if (shown["contrast"] == name).any()]
    if not panels:
        raise ValueError(f"figure: expected effects on {', '.join(tasks)}, got none")
    shown = shown.assign(label=[_label(row) for _, row in shown.iterrows()])
    parts = [(title, shown[shown["contrast"] == name]) for name, title in panels]
    names = [list(part["label"].unique()) for _, part in parts]
    heights = [_MARGIN + (_ROW + _PER_TASK * len(tasks)) * len(rows) for rows in names]
    figure = canvas(sum(heights) + _HEAD)
    axes = figure.subplots(len(parts), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axis, (title, part), rows in zip(axes, parts, names, strict=True):
        show_intervals(axis, part, rows, tasks)
        axis.set_title(title, loc="left")
    axes[-1].set_xlabel("Δ mIoU (points)")
    if len(tasks) > 1:
        legend_below(figure, axes[0])
    else:
        axes[-1].set_xlabel(f"Δ mIoU on {tasks[0]} (points)")
    set_title(figure, shown, f"\n{counts_of(parts[0][1])}; bars: 95 % intervals")
    return figure


def fingerprint(data: str) -> str:
    """Return the metadata text of a figure drawn from this CSV."""
    return f"data sha256 {hashlib.sha256(data.encode()).hexdigest()}"


@contextmanager
def theme() -> Iterator[None]:
    """Set the common style of figures in a block; restore the settings afterwards."""
    with mpl.rc_context():
        sns.set_theme(context="paper", style="whitegrid", font_scale=0.8, rc=RC)
        yield


def canvas(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure; height and width in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def ink(background: Iterable[float]) -> str:
    """Return a legible text colour for a background colour, RGBA in [0, 1].

    Example:
        >>> ink((1.0, 1.0, 1.0, 1.0)), ink((0.0, 0.2, 0.4, 1.0))
        ('0.1', 'white')
    """
    red, green, blue, _ = background
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "0.1"


def save(figure: Figure, format_: str, description: str) -> bytes:
    """Return a figure as `svg` or `png` with a description but no date in its metadata."""
    buffer = BytesIO()
    dateless = {"Date": None} if format_ == "svg" else {"Software": None}
    figure.savefig(
        buffer, format=format_, dpi=200, metadata={**dateless, "Description": description}
    )
    return buffer.getvalue()


def set_title(figure: Figure, frame: pd.DataFrame, rest: str) -> None:
    """Write study and preset of a frame, and the rest, above a figure."""
    study, preset = frame.iloc[0][["study", "preset"]]
    figure.suptitle(f"{study}, preset {preset_label(preset)}{rest}", fontsize="medium")


def counts_of(frame: pd.DataFrame) -> str:
    """The largest number of seeds, and the numbers of images, of the rows of a frame."""
    images = " and ".join(str(number) for number in frame["images"].unique())
    return f"n = {frame['seeds'].max()} seeds × {images} images"


def legend_below(figure: Figure, axis: Axes, *, columns: int = 2) -> None:
    """Put the legend of a panel below all panels."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def show_intervals(
    axis: Axes, part: pd.DataFrame, names: list[str], tasks: Sequence[str],
    *, label: str = "label", value: str = "difference",
) -> None:  # fmt: skip
    """Draw a dot and interval per line of a panel and task, the first line on top.

    `part` has the columns `label`, `value`, `low`, `high` and `task`. Only lines with a label in
    `names` are drawn. Each task has a colour and a marker.
    """
    for index, task in enumerate(tasks):
        shown = part[(part["task"] == task) & part[label].isin(names)]
        shift = 0.3 * ((len(tasks) - 1) / 2 - index)
        places = [len(names) - 1 - names.index(name) + shift for name in shown[label]]
        middle, low, high = (100 * shown[name] for name in (value, "low", "high"))
        axis.errorbar(
            middle, places, xerr=[(middle - low).fillna(0), (high - middle).fillna(0)],
            fmt=_MARKERS[index % len(_MARKERS)], color=COLOURS[index], markersize=3.5, capsize=2,
            linewidth=1.1, label=task,
        )  # fmt: skip
    axis.axvline(0, color="0.3", linewidth=0.8)
    axis.set_yticks(range(len(names)), names[::-1])
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.grid(visible=False, axis="y")


def _label(row: pd.Series) -> str:
    if row["contrast"] == "cumulative":
        return f"+ {row['component']}"
    if row["contrast"] in ("main", "interaction"):
        return str(row["component"])
    if row["contrast"] == "named":
        return _pair(str(row["variant"]), str(row["baseline"]))
    return str(row["variant"])


def _pair(variant: str, baseline: str) -> str:
    """Two names with their common first words written once: `cam: caa − alone`."""
    words = [variant.split("-"), baseline.split("-")]
    shared = 0
    while shared < min(map(len, words)) - 1 and words[0][shared] == words[1][shared]:
        shared += 1
    first, second = ("-".join(each[shared:]) for each in words)
    head = "-".join(words[0][:shared])
    return f"{head}: {first} − {second}" if head else f"{first} − {second}"
