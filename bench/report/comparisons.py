"""Tables of a study's named comparisons: a line per pair, a column per task and metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.markup import Summary, effect_text
from bench.report.summary import NONE
from bench.stats.effects import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stats.effects import Effect
    from bench.studies.study import Study

NOTE = (
    "Differences in points, the first row of a pair minus the second, with 95 % intervals over "
    "seeds and images; * p < 0.05 after Holm's correction over all pairs of this page, within a "
    "task and metric. What is compared was decided before the runs (`docs/statistics.md`)."
)


def comparison_tables(study: Study, found: Sequence[Effect]) -> list[Summary]:
    """Return one table per named comparison that has results."""
    named = [effect for effect in found if effect.contrast.kind == "named"]
    places = list(dict.fromkeys((effect.task, effect.metric) for effect in named))
    by_place = {(e.contrast.variant, e.contrast.baseline, e.task, e.metric): e for e in named}
    tables = []
    for each in study.comparisons:
        rows = []
        for variant, baseline in each.pairs:
            effects = [by_place.get((variant, baseline, *place)) for place in places]
            if any(effects):
                texts = (NONE if effect is None else effect_text(effect) for effect in effects)
                rows.append((f"{variant} against {baseline}", *texts))
        if rows:
            columns = [f"{task}\nΔ {METRICS[metric]} [95 %]" for task, metric in places]
            title = f"Study {study.name}: {each.name}"
            tables.append(Summary.of(title, ("pair", *columns), rows))
    return tables
