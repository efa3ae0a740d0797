"""The figure of a study's effects with intervals, and what all figures share.

Only the modules of this folder use matplotlib and seaborn. The figure reads only
`<study>_effects.csv`, and the same file gives the same bytes. The SHA-256 of that file is in the
metadata of the figure, so that a stale figure is detected without drawing it again.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report.sentences.caption import preset_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes

PANELS = (
    ("named", "Tested"),
    ("leave-one-out", "Leave one out"),
    ("cumulative", "Add one at a time"),
    ("main", "Main effects"),
    ("interaction", "Interactions"),
    ("variant", "Against the reference"),
)
WIDTH = 3.5
"""Width in inches: one column of a two-column page."""
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


def draw(effects_csv: str, *, tasks: Sequence[str], format_: str) -> bytes:
    """Return the figure of a study's effects on the mIoU of some tasks.

    Args:
        effects_csv: Text of `<study>_effects.csv`.
        tasks: The tasks to show, one colour and marker each.
        format_: `svg` or `png`.

    Raises:
        ValueError: If the file has no effect on these tasks.
    """
    frame = pd.read_csv(StringIO(effects_csv))
    shown = frame[frame["task"].isin(tasks) & (frame["metric"] == "miou")]
    if (shown["contrast"] != "variant").any():
        # beside other contrasts, rows that differ in several slots do not isolate a component
        several = shown["component"].astype(str).str.contains("+", regex=False)
        shown = shown[(shown["contrast"] != "variant") | ~several]
    panels = [(name, title) for name, title in PANELS if (shown["contrast"] == name).any()]
    if not panels:
        raise ValueError(f"figure: expected effects on {', '.join(tasks)}, got none")
    parts = [(title, shown[shown["contrast"] == name]) for name, title in panels]
    with theme():
        return save(_figure(parts, tasks), format_, fingerprint(effects_csv))


def fingerprint(data: str) -> str:
    """Return the metadata text of a figure drawn from this CSV."""
    return f"data sha256 {hashlib.sha256(data.encode()).hexdigest()}"


@contextmanager
def theme() -> Iterator[None]:
    """Set the common style of figures in a block; restore the settings afterwards."""
    with mpl.rc_context():
        sns.set_theme(context="paper", style="whitegrid", font_scale=0.8, rc=RC)
        yield


def canvas(height: float) -> Figure:
    """Return an empty figure with the width of a column; `height` in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
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


def _figure(parts: list[tuple[str, pd.DataFrame]], tasks: Sequence[str]) -> Figure:
    rows = [len(_rows(part)) for _, part in parts]
    heights = [_MARGIN + (_ROW + _PER_TASK * len(tasks)) * count for count in rows]
    figure = canvas(sum(heights) + _HEAD)
    axes = figure.subplots(len(parts), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axis, (title, part) in zip(axes, parts, strict=True):
        _panel(axis, part, tasks)
        axis.set_title(title, loc="left")
    axes[-1].set_xlabel("Δ mIoU (points)")
    if len(tasks) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    else:
        axes[-1].set_xlabel(f"Δ mIoU on {tasks[0]} (points)")
    first = parts[0][1].iloc[0]
    counts = " and ".join(str(n) for n in parts[0][1]["images"].drop_duplicates())
    figure.suptitle(
        f"{first['study']}, preset {preset_label(first['preset'])}\n"
        f"n = {first['seeds']} seeds × {counts} images; bars: 95 % intervals",
        fontsize="medium",
    )
    return figure


def _panel(axis: Axes, part: pd.DataFrame, tasks: Sequence[str]) -> None:
    """Draw a dot and interval per effect and task, the first row on top."""
    names = _rows(part)
    for index, task in enumerate(tasks):
        shown = part[part["task"] == task]
        shift = 0.3 * ((len(tasks) - 1) / 2 - index)
        places = [len(names) - 1 - names.index(_label(row)) + shift for _, row in shown.iterrows()]
        difference, low, high = (100 * shown[name] for name in ("difference", "low", "high"))
        axis.errorbar(
            difference,
            places,
            xerr=[difference - low, high - difference],
            fmt=_MARKERS[index % len(_MARKERS)],
            color=sns.color_palette("colorblind")[index],
            markersize=3.5,
            capsize=2,
            linewidth=1.1,
            label=task,
        )
    axis.axvline(0, color="0.3", linewidth=0.8)
    axis.set_yticks(range(len(names)), names[::-1])
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.grid(visible=False, axis="y")


def _rows(part: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(_label(row) for _, row in part.iterrows()))


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
