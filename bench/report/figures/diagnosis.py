"""The figure of the costliest errors of a row. Reads only `<study>_diagnosis.csv`."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pandas as pd
import seaborn as sns

from bench.report.figures.figure import canvas, fingerprint, save, theme
from bench.report.sentences.caption import preset_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
_MARKERS = ("o", "s")


def draw_diagnosis(diagnosis_csv: str, *, variant: str, format_: str) -> bytes:
    """Return the figure of a row's errors, one panel per view.

    Args:
        diagnosis_csv: Text of `<study>_diagnosis.csv`.
        variant: The row to show.
        format_: `svg` or `png`.
    """
    frame = pd.read_csv(StringIO(diagnosis_csv))
    shown = frame[(frame["variant"] == variant) & (frame["errors"] > 0)]
    tasks = list(shown["task"].unique())
    panels = {view: _names(shown, view) for view in PANELS}
    panels = {view: names for view, names in panels.items() if names}
    heights = [_MARGIN + (_ROW + _PER_TASK * len(tasks)) * len(names) for names in panels.values()]
    first = shown.iloc[0]
    images = " and ".join(str(number) for number in shown["images"].drop_duplicates())
    with theme():
        figure = canvas(sum(heights) + _HEAD)
        axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
        for axis, (view, names) in zip(axes, panels.items(), strict=True):
            _panel(axis, shown[shown["view"] == view], names, tasks)
            axis.set_title(PANELS[view], loc="left")
        _share_axis([axis for axis, view in zip(axes, panels, strict=True) if view not in SORTED])
        axes[-1].set_xlabel("points of mIoU gained")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle(
            f"{first['study']}, preset {preset_label(first['preset'])}: {variant}\n"
            f"n = {first['seeds']} seeds × {images} images; bars: 95 % intervals",
            fontsize="medium",
        )
        return save(figure, format_, fingerprint(diagnosis_csv))


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


def _panel(axis: Axes, part: pd.DataFrame, names: list[str], tasks: list[str]) -> None:
    """Draw a dot and interval per error and task, the first on top."""
    for index, task in enumerate(tasks):
        mine = part[(part["task"] == task) & part["error"].isin(names)]
        shift = 0.3 * ((len(tasks) - 1) / 2 - index)
        places = [len(names) - 1 - names.index(name) + shift for name in mine["error"]]
        gain, low, high = (100 * mine[name] for name in ("gain", "low", "high"))
        axis.errorbar(
            gain, places, xerr=[(gain - low).fillna(0), (high - gain).fillna(0)],
            fmt=_MARKERS[index % len(_MARKERS)], color=sns.color_palette("colorblind")[index],
            markersize=3.5, capsize=2, linewidth=1.1, label=task,
        )  # fmt: skip
    axis.axvline(0, color="0.3", linewidth=0.8)
    axis.set_yticks(range(len(names)), names[::-1])
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.grid(visible=False, axis="y")
