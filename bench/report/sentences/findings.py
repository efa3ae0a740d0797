"""The findings of a study in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.report.markup import difference_text
from bench.report.sentences.verdict import measurable, nothing_to_say
from bench.stats.effects import main_tasks, tasks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord
    from bench.stats.effects import Effect

LISTED = 3
"""Number of differences that a sentence lists."""

KINDS = (("named",), ("main",), ("leave-one-out", "variant"))
"""Kinds of contrasts in order of preference; the findings use the first that a study has."""

SUBJECTS = {
    "main": "the main effects",
    "leave-one-out": "rows that change one part",
    "variant": "rows that change one part",
}


def findings(records: Sequence[RunRecord], found: Sequence[Effect]) -> list[str]:
    """Return a sentence per question and main task; tasks without a measurable effect share one."""
    nothing = nothing_to_say(records)
    if nothing:
        return nothing
    groups: dict[str, dict[str, list[Effect]]] = {}
    for task in main_tasks(records):
        for effect in _asked(found, task):
            subject = SUBJECTS.get(effect.contrast.kind, effect.contrast.component)
            groups.setdefault(subject, {}).setdefault(task, []).append(effect)
    said = []
    for subject, by_task in groups.items():
        silent = [task for task, effects in by_task.items() if not measurable(effects)]
        said += [
            _loud(subject, task, effects) for task, effects in by_task.items() if task not in silent
        ]
        if silent:
            said.append(_silent(subject, silent, [e for task in silent for e in by_task[task]]))
    return said or _scores(records)


def _scores(records: Sequence[RunRecord]) -> list[str]:
    """The scores of the first row, for a study without comparisons."""
    name = records[0].variant
    runs = [record for record in records if (record.variant, record.status) == (name, "ok")]
    means = [
        f"{100 * sum(run.metrics[task]['miou'] for run in runs) / len(runs):.1f} % on {task}"
        for task in tasks_of(runs)
    ]
    return [f"mIoU of {name}: {', '.join(means)}."] if means else []


def _asked(found: Sequence[Effect], task: str) -> list[Effect]:
    """Effects on mIoU that answer the study's question: the tested ones, if there are any."""
    mine = [effect for effect in found if (effect.task, effect.metric) == (task, "miou")]
    tested = [effect for effect in mine if not math.isnan(effect.p_holm)]
    for kinds in KINDS:
        chosen = [e for e in tested or mine if e.contrast.kind in kinds]
        if any(e.contrast.kind == "leave-one-out" for e in chosen):
            chosen = [e for e in chosen if "+" not in e.contrast.component]
        if chosen:
            return chosen
    return []


def _loud(subject: str, task: str, effects: Sequence[Effect]) -> str:
    clear = measurable(effects)
    sides = {
        "higher": [effect for effect in clear if effect.difference.estimate > 0],
        "lower": [effect for effect in clear if effect.difference.estimate < 0],
    }
    parts = [_side(word, rest, len(effects)) for word, rest in sides.items() if rest]
    rest = len(effects) - len(clear)
    if rest:
        parts.append(f"{rest} not significant")
    return f"{_capital(subject)}, on {task}: {'; '.join(parts)}."


def _side(word: str, effects: Sequence[Effect], total: int) -> str:
    listed = ", ".join(
        f"**{_name(effect)}** {difference_text(effect.difference)}" for effect in effects[:LISTED]
    )
    if len(effects) <= LISTED:
        return f"{word} mIoU for {listed}"
    sizes = sorted(100 * abs(effect.difference.estimate) for effect in effects)
    return (
        f"{len(effects)} of {total} have a {word} mIoU, by {sizes[0]:.1f} to {sizes[-1]:.1f} "
        f"points (most: {listed})"
    )


def _silent(subject: str, tasks: Sequence[str], effects: Sequence[Effect]) -> str:
    low = 100 * min(effect.difference.low for effect in effects)
    high = 100 * max(effect.difference.high for effect in effects)
    where = " and ".join(tasks)
    return (
        f"{_capital(subject)}, on {where}: no difference of mIoU is significant; all 95 % "
        f"intervals lie within {low:+.1f} and {high:+.1f} points.".replace(" -", " −")
    )


def _name(effect: Effect) -> str:
    pair = effect.contrast
    kind: str = pair.kind
    if kind == "main":
        return pair.component
    if kind == "named":
        return f"{pair.variant} against {pair.baseline}"
    return pair.variant


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
