"""The figure of the gain: seeds, plain FPN, components, dense CRF. Reads only `gain.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.report.figures.figure import COLOURS, PAGE_WIDTH, canvas, from_csv
from bench.report.sentences.caption import preset_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = (
    "seeds\n(nothing trained)",
    "plain FPN with\nWeakCLIP's losses",
    "+ WeakCLIP's\nfour components",
    "+ dense CRF",
)
"""Labels of the first rows of the CSV, which form the path."""
SHOWS = (
    "mIoU of the masks of the training images, tags known. Dark: what each step adds to the one "
    "before; bars: 95 % interval of that difference over seeds and images. Diamonds: the same "
    "masks after the dense CRF."
)
HEIGHT = 2.5  # inches


@from_csv
def draw_gain(frame: pd.DataFrame) -> Figure:
    """The gain of each step."""
    path, refined = frame.iloc[: len(LABELS)], frame.iloc[len(LABELS) :]
    figure = canvas(HEIGHT, PAGE_WIDTH)
    axis = figure.subplots()
    edge = 100 * frame["miou"].max()
    _bars(axis, path, column=edge + 2)
    crf = [*(100 * refined["miou"]), 100 * path["miou"].iloc[-1]]
    places = [len(LABELS) - 1 - row for row in range(len(crf))]
    axis.plot(
        crf, places, "D", markersize=5, markerfacecolor="white", color=COLOURS[1],
        label="after the dense CRF",
    )  # fmt: skip
    axis.legend(loc="upper right", frameon=False, fontsize="medium")
    axis.set_yticks(range(len(LABELS)), LABELS[::-1], fontsize="medium")
    axis.set_xlabel(f"mIoU on {path['task'].iloc[0]} (%)")
    axis.set_xlim(0, edge + 20)
    axis.grid(visible=False, axis="y")
    counts = path.iloc[1]
    figure.suptitle(
        f"Preset {preset_label(str(counts['preset']))}; n = {counts['seeds']:.0f} seeds × "
        f"{counts['images']:.0f} images; 95 % intervals of each step",
        fontsize="medium",
    )
    return figure


def _bars(axis: Axes, path: pd.DataFrame, *, column: float) -> None:
    """Draw a bar per step: the score before the step, the difference and its interval.

    Differences are written at x = `column`, scores at the left end of each bar.
    """
    before = 0.0
    for place, (_, row) in zip(range(len(LABELS) - 1, -1, -1), path.iterrows(), strict=True):
        level = 100 * row["miou"]
        axis.barh(place, before, color="0.85", height=0.6)
        axis.barh(place, level - before, left=before, color=COLOURS[0], height=0.6)
        ink = "0.15" if before else "white"
        axis.text(1, place, f"{level:.1f}", va="center", fontsize="large", color=ink)
        if pd.notna(row["difference"]):
            low, value, high = (100 * row[name] for name in ("low", "difference", "high"))
            axis.errorbar(
                level, place, xerr=[[value - low], [high - value]], color="0.15", capsize=2.5,
                linewidth=1.1,
            )  # fmt: skip
            text = f"{value:+.1f}  [{low:+.1f}, {high:+.1f}]".replace("-", "−")
            axis.text(column, place, text, va="center", fontsize="large")
        before = level
