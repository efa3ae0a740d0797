"""Figures of scores and losses: IoU of each class, mIoU against parameters and time, training.

They read only `<study>.csv` and `<study>_curves.csv`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.figures.figure import COLOURS, canvas, from_csv, legend_below, set_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES_SHOW = (
    "IoU of each class in percent. Bars: the reference, mean over seeds, whiskers: standard "
    "deviation over seeds; dots: means of the other rows."
)
COST_SHOWS = (
    "mIoU in percent against trainable parameters and against the seconds of a run (median): mean "
    "and standard deviation over seeds. The numbers of the rows are those of the key."
)
CURVES_SHOW = "Training loss against step, mean over seeds; one line per row that was trained."
_ROW = 0.14  # inches per class
_STYLES = ("-", "--", ":", "-.")


@from_csv
def draw_classes(scores: pd.DataFrame, *, tasks: Sequence[str], reference: str) -> Figure:
    """IoU per class, one panel per task, the classes sorted by the reference's on the first."""
    frame = _scored(scores, tasks, "iou")
    first = frame[(frame["variant"] == reference) & (frame["task"] == tasks[0])]
    order = list(first.groupby("class_name")["value"].mean().sort_values().index)
    figure = canvas(0.9 + _ROW * len(order))
    axes = figure.subplots(1, len(tasks), sharey=True, sharex=True, squeeze=False)[0]
    for axis, task in zip(axes, tasks, strict=True):
        _class_panel(axis, frame[frame["task"] == task], order, reference)
        axis.set_title(task, loc="left")
    figure.supxlabel("IoU (%)", fontsize="medium")
    set_title(figure, frame, f"; {_seeds(frame)}\nbars: {reference}; dots: other rows")
    return figure


@from_csv
def draw_cost(scores: pd.DataFrame, *, tasks: Sequence[str], variants: Sequence[str]) -> Figure:
    """Scores against parameters and seconds, panels per task; the first row is the reference."""
    frame = _scored(scores, tasks, "miou")
    costs = {
        "trainable parameters (M)": _summed(scores, r"^parameters\..*\.trainable$") / 1e6,
        "time of a run (s)": _summed(scores, r"^seconds\."),
    }
    shown = [name for name in variants if name in set(frame["variant"])]
    figure = canvas(0.7 + 1.35 * len(tasks) + 0.13 * ((len(shown) + 1) // 2))
    axes = figure.subplots(len(tasks), 2, sharex="col", sharey="row", squeeze=False)
    for line, task in zip(axes, tasks, strict=True):
        for axis, cost in zip(line, costs.values(), strict=True):
            _cost_panel(axis, frame[frame["task"] == task], cost, shown)
        line[0].set_title(task, loc="left")
        line[0].set_ylabel("mIoU (%)")
    for axis, label in zip(axes[-1], costs, strict=True):
        axis.set_xlabel(label)
    legend_below(figure, axes[0][0])
    set_title(figure, frame, f"; {_seeds(frame)}\nbars: standard deviation")
    return figure


@from_csv
def draw_curves(frame: pd.DataFrame, *, variants: Sequence[str]) -> Figure:
    """The training loss of each row, in the order of `variants`."""
    loss = frame[frame["metric"] == "loss"]
    means = loss.groupby(["variant", "step"])["value"].mean()
    shown = [name for name in variants if name in means.index.get_level_values("variant")]
    figure = canvas(2.6 + 0.13 * ((len(shown) + 1) // 2))
    axis = figure.subplots()
    for index, name in enumerate(shown):
        style = _STYLES[index // len(COLOURS) % len(_STYLES)]
        line = means[name]
        colour = COLOURS[index % len(COLOURS)]
        axis.plot(line.index, line, style, color=colour, linewidth=1, label=name)
    axis.set_xlabel("step")
    axis.set_ylabel("loss (sum of the losses of the row)")
    legend_below(figure, axis)
    set_title(figure, loss, f"; mean of n = {loss['seed'].nunique()} seeds")
    return figure


def _scored(scores: pd.DataFrame, tasks: Sequence[str], metric: str) -> pd.DataFrame:
    return scores[scores["task"].isin(tasks) & (scores["metric"] == metric)]


def _summed(scores: pd.DataFrame, pattern: str) -> pd.Series:
    """Sum of the matching measurements of each run, median over seeds, by variant."""
    chosen = scores[scores["metric"].str.match(pattern)]
    return chosen.groupby(["variant", "seed"])["value"].sum().groupby("variant").median()


def _seeds(frame: pd.DataFrame) -> str:
    return f"n = {frame['seed'].nunique()} seeds"


def _class_panel(axis: Axes, part: pd.DataFrame, order: list[str], reference: str) -> None:
    by_row = (100 * part["value"]).groupby([part["class_name"], part["variant"]])
    means, spread = by_row.mean().unstack().reindex(order), by_row.std().unstack().reindex(order)
    places = range(len(order))
    axis.barh(
        places, means[reference], xerr=spread[reference].fillna(0), color=COLOURS[0], height=0.7,
        error_kw={"linewidth": 0.8},
    )  # fmt: skip
    for variant in means.columns.drop(reference):
        axis.plot(means[variant], places, ".", color=COLOURS[1], markersize=2)
    axis.set_yticks(places, order)
    axis.set_ylim(-0.6, len(order) - 0.4)
    axis.grid(visible=False, axis="y")


def _cost_panel(axis: Axes, part: pd.DataFrame, cost: pd.Series, variants: Sequence[str]) -> None:
    scores = 100 * part.set_index("variant")["value"]
    for number, variant in enumerate(variants, start=1):
        if variant not in scores.index:  # a row that does not have the task
            continue
        values = scores.loc[[variant]]
        axis.errorbar(
            cost.get(variant, 0.0), values.mean(), yerr=values.std() if len(values) > 1 else None,
            fmt="o" if number == 1 else ".", color=COLOURS[0 if number == 1 else 1],
            markersize=4, linewidth=0.8, label=f"{number} {variant}",
        )  # fmt: skip
        axis.annotate(
            str(number), (cost.get(variant, 0.0), values.mean()), xytext=(3, 2),
            textcoords="offset points", fontsize="small",
        )  # fmt: skip
