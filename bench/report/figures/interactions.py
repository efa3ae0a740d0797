"""The figure of a factorial study: main effects and interactions as one matrix.

Reads only `<study>_effects.csv`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from bench.report.figures.figure import (
    COLOURS,
    canvas,
    counts_of,
    from_csv,
    ink,
    read,
    set_title,
)
from bench.studies.factorial import GIVEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

SHOWS = (
    "Main effects (diagonal) and pairwise interactions (below it) on mIoU in points, with 95 % "
    "intervals over seeds and images. What acts only through another component is taken over the "
    "variants that have it. A frame: the interval leaves out 0."
)
_BETWEEN = " × "
_CELL, _FRAME = 0.34, 0.75  # inches per line of cells, and for title and names


def interaction_tasks(effects_csv: str, tasks: Sequence[str]) -> list[str]:
    """Return the tasks that have interactions, in the given order."""
    having = set(_terms(read(effects_csv)).query("contrast == 'interaction'")["task"])
    return [task for task in tasks if task in having]


@from_csv
def draw_interactions(frame: pd.DataFrame, *, tasks: Sequence[str]) -> Figure:
    """The effects, one panel per task with interactions, with a common colour scale."""
    shown = _terms(frame)
    shown = shown[shown["task"].isin(tasks)]
    main = shown[shown["contrast"] == "main"]
    factors = list(dict.fromkeys(_factors(effect)[0] for _, effect in main.iterrows()))
    largest = float(shown["difference"].abs().max()) or 1.0
    colours = sns.blend_palette([COLOURS[1], "white", COLOURS[0]], as_cmap=True)
    figure = canvas(0.5 + len(tasks) * (_FRAME + _CELL * len(factors)))
    axes = figure.subplots(len(tasks), 1, squeeze=False)[:, 0]
    for axis, task in zip(axes, tasks, strict=True):
        _panel(axis, shown[shown["task"] == task], factors, (colours, largest))
        axis.set_title(f"{task}: Δ mIoU (points)", loc="left")
    set_title(
        figure, shown, f"\n{counts_of(shown)}; diagonal: main effects\n"
        "below: interactions; frame: [95 % interval] leaves out 0",
    )  # fmt: skip
    return figure


def _terms(effects: pd.DataFrame) -> pd.DataFrame:
    chosen = effects["contrast"].isin(["main", "interaction"]) & (effects["metric"] == "miou")
    return effects[chosen]


def _panel(
    axis: Axes, part: pd.DataFrame, factors: Sequence[str], scale: tuple[Colormap, float]
) -> None:
    """Draw a coloured cell per effect; the colour scale is symmetric about 0."""
    colours, largest = scale
    norm = Normalize(-largest, largest)
    for _, effect in part.iterrows():
        column, row = sorted(factors.index(name) for name in _factors(effect))
        low, value, high = (100 * effect[name] for name in ("low", "difference", "high"))
        colour = colours(norm(effect["difference"]))
        clear = low > 0 or high < 0
        axis.add_patch(
            Rectangle(
                (column + 0.03, row + 0.03), 0.94, 0.94, facecolor=colour,
                edgecolor="0.1" if clear else "0.85", linewidth=1.6 if clear else 0.5,
            )
        )  # fmt: skip
        lines = [
            (row + 0.36, _signed(value), 8, "bold" if clear else "normal"),
            (row + 0.74, f"[{_signed(low)}, {_signed(high)}]", 5.5, "normal"),
        ]
        for place, text, size, weight in lines:
            axis.text(
                column + 0.5, place, text, fontsize=size, weight=weight, color=ink(colour),
                ha="center", va="center",
            )  # fmt: skip
    middles = np.arange(len(factors)) + 0.5
    axis.set_xticks(middles, factors)
    axis.set_yticks(middles, factors)
    axis.set(xlim=(0, len(factors)), ylim=(len(factors), 0))
    axis.tick_params(length=0, pad=2)
    axis.spines["bottom"].set_visible(False)
    axis.grid(visible=False)


def _factors(effect: pd.Series) -> list[str]:
    """The two factors of an interaction, or the factor of a main effect twice."""
    names = str(effect["component"]).partition(GIVEN)[0].split(_BETWEEN)
    return names if len(names) == 2 else names * 2


def _signed(points: float) -> str:
    text = f"{points:+.1f}".replace("-", "−")
    return text if text[1:] != "0.0" else "0.0"
