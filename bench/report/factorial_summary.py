"""The table of a factorial study: main effects and interactions, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.markup import Summary, effect_text, p_text
from bench.stats.effects import METRICS, TERMS, tasks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord
    from bench.stats.effects import Effect
    from bench.studies.study import Study

NOTE = (
    "Effect of a component: mean score of the variants with it minus the mean of those without. "
    "Interaction (×): half the difference between the effect of one component with the other and "
    "without it; 0 if effects add up. What acts only through another component (`, with ...`) is "
    "taken over the variants that have that one; the interaction of the two would be the same "
    "number. Points with a 95 % interval over seeds and images; p after Holm's correction over the "
    "rows; * p < 0.05."
)


def factorial_tables(
    study: Study, records: Sequence[RunRecord], found: Sequence[Effect]
) -> list[Summary]:
    """Return a table of terms per metric; empty unless a factorial study is completely run."""
    tables = (_table(study, tasks_of(records), found, metric) for metric in METRICS)
    return [table for table in tables if table is not None]


def _table(
    study: Study, tasks: Sequence[str], found: Sequence[Effect], metric: str
) -> Summary | None:
    shown = [e for e in found if e.contrast.kind in TERMS and e.metric == metric]
    names = list(dict.fromkeys(effect.contrast.component for effect in shown))
    by_place = {(effect.contrast.component, effect.task): effect for effect in shown}
    if not names or not all((name, task) in by_place for name in names for task in tasks):
        return None
    headers = [part for task in tasks for part in (f"{task}\nΔ [95 %]", f"{task}\np")]
    rows = []
    for name in names:
        effects = [by_place[name, task] for task in tasks]
        texts = ((effect_text(each, digits=2), p_text(each.p_holm)) for each in effects)
        rows.append((name, *(text for pair in texts for text in pair)))
    title = f"Study {study.name}: effects and interactions on {METRICS[metric]}"
    return Summary.of(title, ("effect", *headers), rows)
