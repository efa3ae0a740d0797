"""The figure of a study with dials: effects of components at each position of each dial.

Reads only `<study>_dials.csv`. Left: a table with a line per position and a column per row with
which the complete method is compared. Right: the same effects as curves along the dial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Rectangle

from bench.report.figures.figure import COLOURS, PAGE_WIDTH, canvas, from_csv, ink, legend_below

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Effect of each component in points of mIoU, the whole method minus the row named above, at "
    "every position of every dial, with 95 % intervals over seeds and images. Framed: the effect "
    "that the pre-registration predicted to change along the dial. Right: the same effects as "
    "curves, bars for the intervals."
)
_LINE, _GAP, _HEAD = 0.23, 0.16, 1.3  # inches
_MARKERS = ("o", "s", "D", "^", "v")


@from_csv
def draw_dials(frame: pd.DataFrame) -> Figure:
    """The effects on the first task of each dial."""
    frame = frame[frame["metric"] == "miou"]
    first = frame.groupby("dial", sort=False)["task"].transform("first")
    frame = frame[frame["task"] == first]
    parts = [part for _, part in frame.groupby("dial", sort=False)]
    rows = list(dict.fromkeys(frame["variant"]))
    heights = [_LINE * part["order"].nunique() + _GAP for part in parts]
    limit = max(0.5, float(np.ceil(200 * frame["difference"].abs().max()) / 2))
    figure = canvas(sum(heights) + _HEAD, PAGE_WIDTH)
    axes = figure.subplots(
        len(parts), 2, squeeze=False, sharex="col", height_ratios=heights, width_ratios=(3.2, 1)
    )
    for (left, right), part in zip(axes, parts, strict=True):
        _cells(left, part, rows, limit)
        _curves(right, part, rows)
    axes[0, 0].xaxis.tick_top()
    axes[0, 0].set_xticks(range(len(rows)), [_short(row) for row in rows])
    axes[-1, 1].set_xlabel("Δ mIoU (points)")
    legend_below(figure, axes[0, 1], columns=len(rows))
    seeds, images = (sorted(frame[name].unique()) for name in ("seeds", "images"))
    figure.suptitle(
        f"{frame.iloc[0]['study']}: effect of each component, points of mIoU; n = "
        f"{_span(seeds)} seeds × {_span(images)} images",
        fontsize="medium",
    )
    return figure


def _cells(axis: Axes, part: pd.DataFrame, rows: Sequence[str], limit: float) -> None:
    """Draw a coloured cell per position and row, with the effect and its interval."""
    lines = _labels(part)
    norm, colours = mpl.colors.Normalize(-limit, limit), mpl.colormaps["RdBu"]
    for _, each in part.iterrows():
        x, y = rows.index(str(each["variant"])), list(lines).index(each["order"])
        value, low, high = (100 * float(each[name]) for name in ("difference", "low", "high"))
        colour = colours(norm(value))
        framed = each["predicted"] == "yes"
        axis.add_patch(
            Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour,
                      edgecolor="black" if framed else "none", linewidth=1.1)
        )  # fmt: skip
        text = f"{value:+.1f} [{low:.1f}, {high:.1f}]".replace("-", "−")
        axis.text(x, y, text, ha="center", va="center", fontsize=5.5, color=ink(colour))
    axis.set_xlim(-0.5, len(rows) - 0.5)
    _lines(axis, lines)
    axis.set_title(
        f"{str(part.iloc[0]['dial']).replace('-', ' ')} ({part.iloc[0]['task']})",
        loc="left", fontsize=6.5, pad=2,
    )  # fmt: skip
    axis.tick_params(length=0, labelsize=6)
    axis.grid(visible=False)


def _curves(axis: Axes, part: pd.DataFrame, rows: Sequence[str]) -> None:
    """Draw the effects of each row along the dial."""
    lines = list(_labels(part))
    for place, row in enumerate(rows):
        mine = part[part["variant"] == row].sort_values("order")
        shift = 0.12 * (place - (len(rows) - 1) / 2)
        value, low, high = (100 * mine[name] for name in ("difference", "low", "high"))
        axis.errorbar(
            value, [lines.index(order) + shift for order in mine["order"]],
            xerr=[value - low, high - value], fmt=f"{_MARKERS[place % len(_MARKERS)]}-",
            markersize=2, linewidth=0.8, elinewidth=0.6, color=COLOURS[place], label=_short(row),
        )  # fmt: skip
    axis.axvline(0, color="0.3", linewidth=0.8)
    _lines(axis, dict.fromkeys(lines, ""))
    axis.tick_params(length=0, labelsize=6)
    axis.grid(visible=False, axis="y")


def _lines(axis: Axes, labels: dict[int, str]) -> None:
    """Label the y axis with the positions, the first on top."""
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.set_yticks(range(len(labels)), list(labels.values()))


def _labels(part: pd.DataFrame) -> dict[int, str]:
    """Order of a position -> its label."""
    pairs = part[["order", "position"]].drop_duplicates().sort_values("order")
    return {int(order): str(label) for order, label in pairs.itertuples(index=False)}


def _short(row: str) -> str:
    return row.removeprefix("no-").replace("-", " ")


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
