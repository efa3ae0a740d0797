"""The table of a factorial study: main effects and interactions, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.markup import Cell, Summary, signed_interval
from bench.stats.effects import main_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord
    from bench.stats.effects import Effect
    from bench.studies.study import Study

NOTE = (
    "Main effect: mean score of the variants with a component minus the mean of those without. "
    "Interaction (×): half the difference between the effect of one component with the other and "
    "without it; 0 if effects add up. Points of mIoU with a 95 % interval over seeds and images; "
    "p after Holm's correction over the rows; * p < 0.05."
)


def factorial_summary(
    study: Study, records: Sequence[RunRecord], found: Sequence[Effect]
) -> Summary | None:
    """Return the table, or none if the study is not factorial or lacks a variant."""
    tasks = main_tasks(records)
    shown = [
        effect
        for effect in found
        if effect.contrast.kind in ("main", "interaction") and effect.metric == "miou"
    ]
    names = list(dict.fromkeys(effect.contrast.component for effect in shown))
    by_place = {(effect.contrast.component, effect.task): effect for effect in shown}
    if not names or not all((name, task) in by_place for name in names for task in tasks):
        return None
    headers = [part for task in tasks for part in (f"{task}\nΔ [95 %]", f"{task}\np")]
    rows = [
        (Cell(name), *(cell for task in tasks for cell in _cells(by_place[name, task])))
        for name in names
    ]
    return Summary(
        title=f"Study {study.name}: main effects and interactions",
        headers=("effect", *headers),
        rows=tuple(rows),
    )


def _cells(effect: Effect) -> tuple[Cell, Cell]:
    value = effect.difference
    points = signed_interval(value.estimate, value.low, value.high, digits=2)
    star = "*" if effect.p_holm < 0.05 else ""
    return (
        Cell(f"{points}{star}"),
        Cell(f"{effect.p_holm:.3f}" if effect.p_holm >= 0.001 else "< 0.001"),
    )
