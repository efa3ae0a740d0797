"""The figure of sensitivity: mIoU against a hyper-parameter. Reads only `<study>_series.csv`."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pandas as pd
import seaborn as sns
from matplotlib.ticker import NullLocator

from bench.report.figures.figure import canvas, fingerprint, save, theme
from bench.report.sentences.caption import preset_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWS = (
    "mIoU in percent against the value of one quantity, mean over seeds; the rest stays as in the "
    "reference (diamond, dotted line). Bars: 95 % interval of the difference to the reference, "
    "paired by seed and image; one that misses the dotted line leaves out 0."
)


def draw_series(series_csv: str, *, format_: str) -> bytes:
    """Return the figure of a study's series, one panel per series and task.

    Args:
        series_csv: Text of `<study>_series.csv`.
        format_: `svg` or `png`.
    """
    frame = pd.read_csv(StringIO(series_csv))
    tasks, names = list(frame["task"].unique()), list(frame["series"].unique())
    first, images = frame.iloc[0], " and ".join(str(n) for n in frame["images"].unique())
    with theme():
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
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle(
            f"{first['study']}, preset {preset_label(first['preset'])}\n"
            f"n = {frame['seeds'].max()} seeds × {images} images",
            fontsize="medium",
        )
        return save(figure, format_, fingerprint(series_csv))


def _panel(axis: Axes, part: pd.DataFrame) -> None:
    """Draw means joined by a line, intervals, and the reference."""
    colours = sns.color_palette("colorblind")
    score = 100 * part["miou"]
    bars = [100 * (part["difference"] - part["low"]), 100 * (part["high"] - part["difference"])]
    axis.errorbar(
        part["x"], score, yerr=bars, fmt="o-", color=colours[0], markersize=3, linewidth=1,
        capsize=2, label="mean, 95 % interval of Δ",
    )  # fmt: skip
    reference = part[part["role"] == "reference"]
    level = 100 * reference["miou"].iloc[0]
    axis.axhline(level, color=colours[1], linewidth=0.9, linestyle=":")
    axis.plot(
        reference["x"], [level], "D", color=colours[1], markersize=4.5, label="reference", zorder=3
    )
    if (part["scale"] == "log").all():
        axis.set_xscale("log")
    axis.set_xticks(part["x"], [f"{x:g}" for x in part["x"]], fontsize=6)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.12)
