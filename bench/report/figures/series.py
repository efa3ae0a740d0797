"""The figure of sensitivity: mIoU against a hyper-parameter. Reads only `<study>_series.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import NullLocator

from bench.report.figures.figure import (
    COLOURS,
    canvas,
    counts_of,
    from_csv,
    legend_below,
    set_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "mIoU in percent against the value of one quantity, mean over seeds; the rest stays as in the "
    "reference (diamond, dotted line). Bars: 95 % interval of the difference to the reference, "
    "paired by seed and image; one that misses the dotted line leaves out 0."
)


@from_csv
def draw_series(frame: pd.DataFrame) -> Figure:
    """The series of a study, one panel per series and task."""
    tasks, names = list(frame["task"].unique()), list(frame["series"].unique())
    figure = canvas(0.85 + 1.35 * len(tasks))
    axes = figure.subplots(len(tasks), len(names), sharex="col", sharey="row", squeeze=False)
    for line, task in zip(axes, tasks, strict=True):
        for axis, name in zip(line, names, strict=True):
            part = frame[(frame["task"] == task) & (frame["series"] == name)]
            if not part.empty:
                _panel(axis, part)
        line[0].set_title(task, loc="left")
        line[0].set_ylabel("mIoU (%)")
    for axis, name in zip(axes[-1], names, strict=True):
        axis.set_xlabel(frame[frame["series"] == name].iloc[0]["axis"])
    legend_below(figure, axes[0][0])
    set_title(figure, frame, f"\n{counts_of(frame)}")
    return figure


def _panel(axis: Axes, part: pd.DataFrame) -> None:
    """Draw means joined by a line, intervals, and the reference."""
    score = 100 * part["miou"]
    bars = [100 * (part["difference"] - part["low"]), 100 * (part["high"] - part["difference"])]
    axis.errorbar(
        part["x"], score, yerr=bars, fmt="o-", color=COLOURS[0], markersize=3, linewidth=1,
        capsize=2, label="mean, 95 % interval of Δ",
    )  # fmt: skip
    reference = part[part["role"] == "reference"]
    level = 100 * reference["miou"].iloc[0]
    axis.axhline(level, color=COLOURS[1], linewidth=0.9, linestyle=":")
    axis.plot(
        reference["x"], [level], "D", color=COLOURS[1], markersize=4.5, label="reference", zorder=3
    )
    if (part["scale"] == "log").all():
        axis.set_xscale("log")
    axis.set_xticks(part["x"], [f"{x:g}" for x in part["x"]], fontsize=6)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.12)
