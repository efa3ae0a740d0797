"""Tables of tested contrasts: named comparisons of a study, and terms of a factorial study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.markup import Summary, effect_text, p_text
from bench.report.summary import NONE
from bench.stats.effects import METRICS, TERMS, tasks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord
    from bench.stats.effects import Effect
    from bench.studies.study import Study

PAIRS_NOTE = (
    "Differences in points, the first row of a pair minus the second, with 95 % intervals over "
    "seeds and images; * p < 0.05 after Holm's correction over all pairs of this page, within a "
    "task and metric. What is compared was decided before the runs (`docs/statistics.md`)."
)
TERMS_NOTE = (
    "Effect of a component: mean score of the variants with it minus the mean of those without. "
    "Interaction (×): half the difference between the effect of one component with the other and "
    "without it; 0 if effects add up. What acts only through another component (`, with ...`) is "
    "taken over the variants that have that one; the interaction of the two would be the same "
    "number. Points with a 95 % interval over seeds and images; p after Holm's correction over the "
    "rows; * p < 0.05."
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


def factorial_tables(
    study: Study, records: Sequence[RunRecord], found: Sequence[Effect]
) -> list[Summary]:
    """Return a table of terms per metric; empty unless a factorial study is completely run."""
    tasks, tables = tasks_of(records), []
    headers = [part for task in tasks for part in (f"{task}\nΔ [95 %]", f"{task}\np")]
    for metric in METRICS:
        shown = [e for e in found if e.contrast.kind in TERMS and e.metric == metric]
        names = dict.fromkeys(effect.contrast.component for effect in shown)
        by_place = {(effect.contrast.component, effect.task): effect for effect in shown}
        if not names or not all((name, task) in by_place for name in names for task in tasks):
            continue
        rows = []
        for name in names:
            effects = [by_place[name, task] for task in tasks]
            texts = ((effect_text(each, digits=2), p_text(each.p_holm)) for each in effects)
            rows.append((name, *(text for pair in texts for text in pair)))
        title = f"Study {study.name}: effects and interactions on {METRICS[metric]}"
        tables.append(Summary.of(title, ("effect", *headers), rows))
    return tables
