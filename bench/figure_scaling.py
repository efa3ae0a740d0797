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
from matplotlib.ticker import FixedLocator, NullLocator

from bench.figure import fingerprint, save, theme
from bench.scaling_table import QUANTITIES, curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bench.scaling_table import Curve

_COLOURS = ("forward", "training step", "text")
_AXES = {
    "side": "image side (pixels)",
    "classes": "classes",
    "batch": "images a batch",
    "prompts": "prompts",
}
_WIDTH, _HEIGHT = 1.9, 1.7  # inches of a panel


def draw_scaling(scaling: dict[str, Any], *, format_: str) -> bytes:
    """Return the figure: a column an axis, a row a quantity.

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
            axes[row, 0].set_ylabel(f"{quantity} ({QUANTITIES[quantity]})")
        for column, axis in enumerate(columns):
            axes[-1, column].set_xlabel(_AXES[axis])
        figure.suptitle(str(scaling["environment"]["device"]), fontsize="medium")
        return save(figure, format_, fingerprint(json.dumps(scaling, sort_keys=True)))


def _panel(axis: Axes, mine: list[Curve]) -> None:
    for curve in mine:
        costs = np.array([np.nan if cost is None else cost for cost in curve.costs])
        fitted = curve.fitted
        power = "" if fitted is None else f" $x^{{{fitted.exponent:.2f}}}$"
        axis.plot(
            curve.values,
            costs,
            marker="o" if curve.size == "micro" else "^",
            markersize=3,
            linewidth=1,
            color=sns.color_palette("colorblind")[_COLOURS.index(curve.work)],
            label=f"{curve.size} {curve.work}{power}",
        )
    axis.set(xscale="log", yscale="log")
    if mine:
        axis.xaxis.set_major_locator(FixedLocator(list(mine[0].values)))
        axis.set_xticklabels([str(value) for value in mine[0].values])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.legend(frameon=False, fontsize=5)
