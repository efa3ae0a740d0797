"""Tables of an evaluation, in percent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.markup import escape
from rich.table import Table

from weakclip.cli.console import console
from weakclip.cli.findings import findings_table
from weakclip.evaluation.scores import SIZES

if TYPE_CHECKING:
    from weakclip.evaluation.result import Evaluation, Result

NEVER = "–"
SHOWN = 20
"""Number of kinds of error in the table; JSON and CSV contain all."""


def show(evaluation: Evaluation, examples: int) -> None:
    """Print the tables of an evaluation, in percent, with some examples of each finding."""
    screen = console()
    if evaluation.findings:
        title = f"{evaluation.images} of {evaluation.listed} images are scored"
        screen.print(findings_table(title, evaluation.findings, examples))
    for name, result in (("", evaluation.result), ("against: ", evaluation.against)):
        if result is not None:
            screen.print(_class_table(evaluation, result, name))
            screen.print(_summary(evaluation, result))
            if result.diagnosis:
                screen.print(_costs_table(result, name))
    compared = evaluation.comparison
    if compared is not None:
        ends = f"{_percent(compared.low, '+')}, {_percent(compared.high, '+')}"
        screen.print(
            f"difference of mIoU {_percent(compared.difference, '+')} [{ends}] (95 %), "
            f"p = {compared.p_value:.2g}, {compared.images} images, paired"
        )


def _class_table(evaluation: Evaluation, result: Result, name: str) -> Table:
    """One row per class that occurs, and the means."""
    oracle = ", ORACLE: the threshold was chosen on this ground truth" if result.oracle else ""
    scores = result.scores
    table = Table(
        title=f"{name}{escape(result.what)}{oracle}, {evaluation.images} images, %",
        title_justify="left",
    )
    table.add_column("class", no_wrap=True)
    for metric in (*scores.per_class, "pixels"):
        table.add_column(_heading(metric), justify="right")
    for row, label in enumerate(evaluation.classes):
        if scores.counts[row].any():
            cells = [_percent(values[row]) for values in scores.per_class.values()]
            table.add_row(escape(label), *cells, str(scores.counts[row, 2]))
    table.add_section()
    for label, foreground in (("mean", False), ("mean, foreground", True)):
        means = [_percent(scores.mean(one, foreground=foreground)) for one in scores.per_class]
        table.add_row(label, *means, "")
    return table


def _costs_table(result: Result, name: str) -> Table:
    """The kinds of error with the largest gain if they did not occur."""
    costs = [cost for cost in result.diagnosis if cost.errors > 0]
    table = Table(
        title=f"{name}what costs most: {min(SHOWN, len(costs))} of {len(costs)} kinds of error; "
        "gain: points of mIoU if it did not occur, by itself",
        title_justify="left",
    )
    for heading in ("by", "error"):
        table.add_column(heading, no_wrap=heading == "by")
    for heading in ("gain", "95 %", "of wrong pixels", "concerned", "right"):
        table.add_column(heading, justify="right")
    for cost in costs[:SHOWN]:
        ends = f"{_percent(cost.low, '+')}, {_percent(cost.high, '+')}"
        shares = [_percent(share) for share in (cost.errors, cost.pixels, cost.right)]
        table.add_row(cost.view, escape(cost.name), _percent(cost.gain, "+"), ends, *shares)
    return table


def _summary(evaluation: Evaluation, result: Result) -> str:
    """Results that are not in a table, one line each."""
    scores = result.scores
    chosen = scores.miou_by_absent[evaluation.absent]
    rules = ", ".join(f"{one} {_percent(value)}" for one, value in scores.miou_by_absent.items())
    overall = scores.overall
    lines = [
        f"mIoU {_percent(chosen)}, pixel accuracy {_percent(overall['pixel_accuracy'])}, "
        f"coverage {_percent(overall['coverage'])}",
        "mIoU by size of a class in an image: "
        + ", ".join(
            f"{size} {_percent(scores.by_size[size][0])} ({scores.by_size[size][1]})"
            for size in SIZES
        ),
    ]
    if overall["classes_annotated"] < len(evaluation.classes):
        lines.append(f"mIoU by rule for absent classes: {rules}")
    if result.sweep is not None:
        at = result.sweep.thresholds
        lines.append(
            f"best threshold {at[result.sweep.best]:g}, first peak {at[result.sweep.first_peak]:g}"
        )
    return "\n".join(lines)


def _heading(metric: str) -> str:
    """The abbreviated name of a metric."""
    words = metric.replace("boundary_iou", "BIoU").replace("_activation", "").split("_")
    return " ".join(word.upper() if word in ("fp", "fn") else word for word in words).replace(
        "iou", "IoU"
    )


def _percent(value: float, sign: Literal["", "+"] = "") -> str:
    return f"{100 * value:{sign}.2f}" if value == value else NEVER
