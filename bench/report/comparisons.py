"""Tables of a study's named comparisons: a line per pair, a column per task and metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.markup import Cell, Summary, signed_interval
from bench.report.summary import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stats.effects import Effect
    from bench.studies.study import Study

NOTE = (
    "Differences in points, the first row of a pair minus the second, with 95 % intervals over "
    "seeds and images; * p < 0.05 after Holm's correction over all pairs of this page, within a "
    "task and metric. What is compared was decided before the runs (`docs/statistics.md`)."
)
METRICS = {"miou": "Δ mIoU [95 %]", "boundary_miou": "Δ boundary IoU [95 %]"}


def comparison_tables(study: Study, found: Sequence[Effect]) -> list[Summary]:
    """Return one table per named comparison that has results.

    Args:
        study: The study.
        found: Effects of its records.
    """
    named = [effect for effect in found if effect.contrast.kind == "named"]
    places = list(dict.fromkeys((effect.task, effect.metric) for effect in named))
    by_place = {(e.contrast.variant, e.contrast.baseline, e.task, e.metric): e for e in named}
    tables = []
    for each in study.comparisons:
        rows = tuple(
            (
                Cell(f"{variant} against {baseline}"),
                *(_cell(by_place.get((variant, baseline, *place))) for place in places),
            )
            for variant, baseline in each.pairs
            if any((variant, baseline, *place) in by_place for place in places)
        )
        if rows:
            headers = ("pair", *(f"{task}\n{METRICS[metric]}" for task, metric in places))
            tables.append(
                Summary(title=f"Study {study.name}: {each.name}", headers=headers, rows=rows)
            )
    return tables


def _cell(effect: Effect | None) -> Cell:
    if effect is None:
        return Cell(NONE)
    value = effect.difference
    star = "*" if effect.p_holm < 0.05 else ""
    return Cell(signed_interval(value.estimate, value.low, value.high, digits=1) + star)
