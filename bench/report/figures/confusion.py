"""The figure of confusions: ground truth by prediction. Reads only `<study>_confusion.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Rectangle

from bench.report.confusion import VOID
from bench.report.figures.figure import (
    COLOURS,
    canvas,
    counts_of,
    from_csv,
    ink,
    read,
    set_title,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Confusion matrix of the reference on {task}: what percentage of the pixels of each "
    "ground-truth class (a line) is given to which class (a column), pixels summed over seeds and "
    "images. Cells of 5 % and more hold their number."
)
LEVELS = (0, 1, 5, 10, 20, 40, 60, 80, 100)
"""Percentages at which the colour changes; finer at the low end, where most confusions are."""
ANNOTATED = 5.0
_ROW, _FRAME = 0.13, 1.75  # inches per class, and for names, title and key


def confusion_tasks(confusion_csv: str) -> list[str]:
    """Return the tasks that have a matrix, in the order of the file; empty for an empty text."""
    return list(read(confusion_csv)["task"].unique()) if confusion_csv else []


@from_csv
def draw_confusion(frame: pd.DataFrame, *, task: str) -> Figure:
    """The confusion matrix of a task, each line in percent of its ground-truth class.

    The column of pixels without a predicted class is left out if there are no such pixels.
    """
    shown = frame[frame["task"] == task]
    rows = list(shown["gt_class"].unique())
    void = shown["predicted_class"] == VOID
    columns = [*rows, VOID] if shown.loc[void, "pixels"].sum() else rows
    matrix = shown.pivot_table(index="gt_class", columns="predicted_class", values="share")
    percent = 100 * matrix.reindex(index=rows, columns=columns)
    figure = canvas(_FRAME + _ROW * len(rows))
    axis = figure.subplots()
    colours = _cells(axis, percent)
    key = figure.colorbar(colours, ax=axis, location="bottom", aspect=45, pad=0.02)
    key.ax.tick_params(labelsize=6, length=0)
    key.set_label("% of the pixels of the ground-truth class", size=6.5)
    key.outline.set_linewidth(0.4)
    set_title(figure, shown, f": {shown['variant'].iloc[0]}, {task}\n{counts_of(shown)}")
    return figure


def _cells(axis: Axes, percent: pd.DataFrame) -> ScalarMappable:
    """Draw coloured cells, the first class on top, and the numbers in the larger ones."""
    ends = ["white", COLOURS[0], "#04223a"]
    shades = ListedColormap(sns.blend_palette(ends, len(LEVELS) - 1))
    colours = ScalarMappable(BoundaryNorm(LEVELS, len(LEVELS) - 1), shades)
    for (row, column), value in np.ndenumerate(percent.to_numpy()):
        colour = colours.to_rgba(value)
        if value >= LEVELS[1]:  # below, the shade is white
            axis.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, linewidth=0))
        if value >= ANNOTATED:
            axis.text(
                column + 0.5, row + 0.53, f"{value:.0f}", ha="center", va="center", fontsize=4.8,
                color=ink(colour),
            )  # fmt: skip
    _name_axes(axis, list(percent.columns), list(percent.index))
    return colours


def _name_axes(axis: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Put class names at the centres of the cells, and thin lines between the cells."""
    axis.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axis.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90)
    axis.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axis.set_xticks(range(len(columns) + 1), minor=True)
    axis.set_yticks(range(len(rows) + 1), minor=True)
    axis.tick_params(which="both", labelsize=6, length=0, pad=2)
    axis.set_xlabel("predicted", fontsize=7)
    axis.set_ylabel("ground truth", fontsize=7)
    axis.grid(visible=False)
    axis.grid(which="minor", color="0.88", linewidth=0.3)
    axis.spines["bottom"].set_visible(False)
