"""Cost against image side, classes, batch and prompts, with fitted exponents.

Reads `scaling.json` alone; the same file gives the same bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from bench.cost.scaling_table import QUANTITIES, curves
from bench.report.figures.figure import fingerprint, save, theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from bench.cost.scaling_table import Curve

_COLOURS = ("forward", "training step", "text")
_AXES = {
    "side": "image side (pixels)",
    "classes": "classes",
    "batch": "images a batch",
    "prompts": "prompts",
}
_ROWS = {"time": "time of a call", "memory": "memory of a call", "flops": "work of a call"}
_MARKERS = {"micro": "o", "paper": "^"}
_WIDTH, _HEIGHT = 1.8, 1.6  # inches of a panel


def draw_scaling(scaling: dict[str, Any], *, format_: str) -> bytes:
    """Return the figure, as wide as a page: a column an axis, a row a quantity.

    At the end of each line stands the exponent that was fitted.

    Args:
        scaling: Content of `scaling.json`.
        format_: `svg` or `png`.
    """
    found = curves(scaling)
    columns = list(dict.fromkeys(curve.axis for curve in found))
    rows = [name for name in QUANTITIES if any(curve.quantity == name for curve in found)]
    with theme():
        figure = Figure(figsize=(_WIDTH * len(columns), _HEIGHT * len(rows)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(rows), len(columns), squeeze=False)
        for row, quantity in enumerate(rows):
            for column, axis in enumerate(columns):
                mine = [c for c in found if (c.quantity, c.axis) == (quantity, axis)]
                _panel(axes[row, column], mine)
            axes[row, 0].set_ylabel(f"{_ROWS[quantity]} ({QUANTITIES[quantity]})")
        for column, axis in enumerate(columns):
            axes[-1, column].set_xlabel(_AXES[axis])
        environment = scaling["environment"]
        title = f"{environment['device']}, {environment['threads']} thread(s)"
        figure.suptitle(title, fontsize="medium")
        figure.legend(handles=_legend(found), loc="outside lower center", ncols=5, frameon=False)
        return save(figure, format_, fingerprint(json.dumps(scaling, sort_keys=True)))


def _panel(axis: Axes, mine: list[Curve]) -> None:
    for curve in mine:
        costs = np.array([np.nan if cost is None else cost for cost in curve.costs])
        fitted = curve.fitted
        colour = sns.color_palette("colorblind")[_COLOURS.index(curve.work)]
        axis.plot(
            curve.values,
            costs,
            marker=_MARKERS[curve.size],
            markersize=3,
            linewidth=1,
            color=colour,
        )
        if fitted is not None:
            last = int(np.flatnonzero(~np.isnan(costs))[-1])
            axis.annotate(
                f"$x^{{{fitted.exponent:.2f}}}$", (curve.values[last], costs[last]),
                xytext=(4, 0), textcoords="offset points", va="center", fontsize="small",
                color=colour, annotation_clip=False,
            )  # fmt: skip
    axis.set(xscale="log", yscale="log")
    if mine:
        axis.xaxis.set_major_locator(FixedLocator(list(mine[0].values)))
        axis.set_xticklabels(_shown(mine[0].values))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.margins(y=0.15)
        axis.yaxis.set_major_locator(LogLocator(subs=_ticks(mine)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.yaxis.set_minor_locator(NullLocator())


def _shown(values: Sequence[int]) -> list[str]:
    """Labels of the values; the last but one of many has none, where it would touch the last."""
    words = [str(value) for value in values]
    return [*words[:-2], "", words[-1]] if len(words) > 4 else words


def _ticks(mine: list[Curve]) -> tuple[float, ...]:
    """Multiples of powers of ten at which numbers stand: more where the costs differ little."""
    costs = [cost for curve in mine for cost in curve.costs if cost]
    spread = max(costs) / min(costs) if costs else 1.0
    return (1.0,) if spread > 100 else (1.0, 3.0) if spread > 10 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


def _legend(found: list[Curve]) -> list[Line2D]:
    palette = sns.color_palette("colorblind")
    works = [work for work in _COLOURS if any(curve.work == work for curve in found)]
    sizes = [size for size in _MARKERS if any(curve.size == size for curve in found)]
    lines = [Line2D([], [], color=palette[_COLOURS.index(work)], label=work) for work in works]
    marks = [
        Line2D([], [], linestyle="", marker=_MARKERS[size], color="0.3", label=f"{size} size")
        for size in sizes
    ]
    return lines + marks
