"""The figure of a search: history, importances, slices, and the Pareto front of mIoU and time.

Drawn from the tables of the search only; the same tables give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.figures.figure import PAGE_WIDTH, canvas, from_csv, read

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
_FIXED = ("trial", "state", "miou", "seconds", "pareto")
_LOG_RATIO = 50
"""The axis is logarithmic if the values of a parameter span more than this factor."""


@from_csv
def draw_search(trials: pd.DataFrame, *, importances: str, title: str) -> Figure:
    """A search, from the rows of its trials, and the text of `<name>_importances.csv`.

    Raises:
        ValueError: If no trial has finished.
    """
    done = trials[trials["state"] == "complete"]
    if done.empty:
        raise ValueError("figure: expected a finished trial, got none")
    parameters = [name for name in trials.columns if name not in _FIXED]
    rows = -(-(3 + len(parameters)) // COLUMNS)
    figure = canvas(1.9 * rows + 0.4, PAGE_WIDTH)
    axes = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    _history(axes[0], done)
    _importances(axes[1], read(importances))
    _front(axes[2], done)
    for axis, name in zip(axes[3:], parameters, strict=False):
        _slice(axis, done, name)
    for axis in axes[3 + len(parameters) :]:
        axis.set_axis_off()
    pruned = int((trials["state"] == "pruned").sum())
    figure.suptitle(
        f"{title}: {len(done)} trials finished, {pruned} stopped early", fontsize="medium"
    )
    return figure


def _history(axis: Axes, done: pd.DataFrame) -> None:
    axis.plot(done["trial"], 100 * done["miou"], "o", markersize=3, label="trial")
    axis.step(done["trial"], 100 * done["miou"].cummax(), where="post", label="best so far")
    axis.set(title="History", xlabel="trial", ylabel="mIoU on tune (%)")
    axis.legend(frameon=False)


def _importances(axis: Axes, importances: pd.DataFrame) -> None:
    axis.set(title="Importance", xlabel="share of variance explained")
    if importances.empty:
        axis.text(0.5, 0.5, "too few trials", ha="center", transform=axis.transAxes)
        return
    shown = importances.sort_values(["importance", "parameter"])
    axis.barh(shown["parameter"], shown["importance"])


def _front(axis: Axes, done: pd.DataFrame) -> None:
    axis.plot(done["seconds"], 100 * done["miou"], "o", markersize=3, label="trial")
    front = done[done["pareto"]].sort_values("seconds")
    axis.plot(front["seconds"], 100 * front["miou"], "D-", markersize=4, label="Pareto front")
    axis.set(title="Quality and time", xlabel="seconds of training", ylabel="mIoU on tune (%)")
    axis.legend(frameon=False)


def _slice(axis: Axes, done: pd.DataFrame, name: str) -> None:
    values = done[name]
    axis.plot(values, 100 * done["miou"], "o", markersize=3)
    if values.min() > 0 and values.max() / values.min() > _LOG_RATIO:
        axis.set_xscale("log")
    axis.set(title=name.replace("_", " "), ylabel="mIoU on tune (%)")
