"""The figure of the costliest errors of a row. Reads only `<study>_diagnosis.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.figures.figure import (
    canvas,
    counts_of,
    from_csv,
    legend_below,
    set_title,
    show_intervals,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Largest losses of {variant}: points of mIoU gained if an error did not occur, "
    "with 95 % intervals over seeds and images. Errors overlap, so the gains do not add up."
)
PANELS = {
    "kind": "Kind of error",
    "class": "Single classes, the costliest",
    "contour": "Distance to a contour",
    "size": "Size of a class in an image",
    "classes": "Classes in the image",
    "occlusion": "Occlusion",
    "seed": "Label of the seed",
    "shows": "Stuff and parts, the costliest",
}
SORTED = {"class": 6, "shows": 8}
"""View -> number of its errors that are shown, the costliest first; other views are complete."""
_ROW, _PER_TASK, _MARGIN, _HEAD = 0.07, 0.06, 0.38, 0.8  # inches


@from_csv
def draw_diagnosis(frame: pd.DataFrame, *, variant: str) -> Figure:
    """The errors of a row, one panel per view."""
    shown = frame[(frame["variant"] == variant) & (frame["errors"] > 0)]
    tasks = list(shown["task"].unique())
    panels = {view: _names(shown, view) for view in PANELS}
    panels = {view: names for view, names in panels.items() if names}
    heights = [_MARGIN + (_ROW + _PER_TASK * len(tasks)) * len(names) for names in panels.values()]
    figure = canvas(sum(heights) + _HEAD)
    axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axis, (view, names) in zip(axes, panels.items(), strict=True):
        part = shown[shown["view"] == view]
        show_intervals(axis, part, names, tasks, label="error", value="gain")
        axis.set_title(PANELS[view], loc="left")
    _share_axis([axis for axis, view in zip(axes, panels, strict=True) if view not in SORTED])
    axes[-1].set_xlabel("points of mIoU gained")
    legend_below(figure, axes[0])
    set_title(figure, shown, f": {variant}\n{counts_of(shown)}; bars: 95 % intervals")
    return figure


def _share_axis(axes: list[Axes]) -> None:
    """Give panels with gains of similar size the same x axis."""
    ends = [axis.get_xlim() for axis in axes]
    for axis in axes:
        axis.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))


def _names(shown: pd.DataFrame, view: str) -> list[str]:
    """Errors of a view sorted by their largest gain on any task; only the first of long views."""
    part = shown[shown["view"] == view]
    most = part.groupby("error")["gain"].max().sort_values(ascending=False, kind="stable")
    return list(most.index[: SORTED.get(view)])
