"""The effects of a study in sentences that follow from the numbers by rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.markup import p_text, percent
from bench.report.sentences.caption import SMOKE_LABEL
from bench.runs.plan import SMOKE
from bench.stats.effects import LEVEL, METRICS, main_tasks, tasks_of
from bench.stats.statistics import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord
    from bench.stats.effects import ContrastKind, Effect

FEW = 5
"""Number of measurable effects that a sentence lists."""

QUESTIONS: dict[ContrastKind, str] = {
    "leave-one-out": "Leaving one component out",
    "cumulative": "Adding one component at a time",
    "main": "Main effects",
    "interaction": "Interactions",
    "variant": "Other rows against the reference",
}
"""Beginnings of the sentences, in their order; a named comparison begins with its name."""


def verdict(records: Sequence[RunRecord], found: Sequence[Effect]) -> list[str]:
    """Return sentences about the best row on each main task, then about the tests of the study.

    There is one sentence for each question, task and metric. Differences that are not tested have
    no sentence.
    """
    sentences = nothing_to_say(records)
    if sentences:
        return sentences
    sentences += [_best(records, task) for task in main_tasks(records)]
    questions: dict[tuple[str, str, str], list[Effect]] = {}
    for effect in found:
        if effect.is_tested:
            place = _question(effect), effect.task, effect.metric
            questions.setdefault(place, []).append(effect)
    heads = list(dict.fromkeys(head for head, _, _ in questions))
    order = [*(head for head in heads if head not in QUESTIONS.values()), *QUESTIONS.values()]
    return sentences + [
        f"{head}, {task}, {METRICS[metric]}: {_finding(questions[head, task, metric])}"
        for head in order
        for task in tasks_of(records)
        for metric in METRICS
        if (head, task, metric) in questions
    ]


def _question(effect: Effect) -> str:
    """The beginning of the sentence about an effect."""
    name = effect.contrast.component
    return QUESTIONS.get(effect.contrast.kind) or name[0].upper() + name[1:]


def nothing_to_say(records: Sequence[RunRecord]) -> list[str]:
    """Return why records support no statement; empty if they do."""
    if not any(record.status == "ok" for record in records):
        return ["No run finished: there is nothing to say."]
    if records[0].preset == SMOKE:
        return [f"Preset {SMOKE_LABEL}: the pipeline ran, the numbers mean nothing."]
    return []


def measurable(effects: Sequence[Effect]) -> list[Effect]:
    """The significant effects, largest first."""
    clear = (effect for effect in effects if effect.is_significant)
    return sorted(clear, key=lambda effect: -abs(effect.difference.estimate))


def _best(records: Sequence[RunRecord], task: str) -> str:
    scores: dict[str, list[float]] = {}
    for record in records:
        if task in record.metrics:
            scores.setdefault(record.variant, []).append(record.metrics[task]["miou"])
    means = {name: spread(values).mean for name, values in scores.items()}
    name = max(means, key=lambda name: means[name])
    seeds = len(scores[name])
    return (
        f"**{task}**: the best mean is {percent(means[name])} % mIoU, of {name} "
        f"({seeds} {'seed' if seeds == 1 else 'seeds'}; {len(means)} rows)."
    )


def _finding(effects: Sequence[Effect]) -> str:
    """The measurable effects, largest first; then the largest effect the others may still have."""
    clear = measurable(effects)
    unclear = [effect for effect in effects if not effect.is_significant]
    parts = [f"{_listed(clear)}." if clear else ""]
    if unclear:
        hidden = max(max(-e.difference.low, e.difference.high) for e in unclear)
        parts.append(
            f"**No measurable effect** (p ≥ {LEVEL} after Holm's correction): "
            f"{', '.join(map(_name, unclear))}; an effect of up to {percent(hidden)} points may "
            "hide in their intervals."
        )
    return " ".join(part for part in parts if part)


def _listed(clear: Sequence[Effect]) -> str:
    """The measurable effects; if there are many, the largest gains and the range of the others."""
    if len(clear) <= FEW:
        return "; ".join(map(_effect, clear))
    gains = [effect for effect in clear if effect.difference.estimate > 0]
    costs = [effect for effect in clear if effect.difference.estimate <= 0]
    parts = [*map(_effect, gains[:FEW])]
    parts += [_reach(rest, verb) for rest, verb in ((gains[FEW:], "gain"), (costs, "cost")) if rest]
    return "; ".join(parts)


def _reach(effects: Sequence[Effect], verb: str) -> str:
    sizes = sorted(abs(effect.difference.estimate) for effect in effects)
    return f"{len(effects)} {verb} {percent(sizes[0])} to {percent(sizes[-1])} points"


def _effect(effect: Effect) -> str:
    value = effect.difference
    direction = "costs" if value.estimate < 0 else "gains"
    low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in (value.low, value.high))
    return (
        f"**{_name(effect)}** {direction} {percent(abs(value.estimate))} points "
        f"[{low}, {high}], p = {p_text(effect.p_holm)}".replace("= <", "<")
    )


def _name(effect: Effect) -> str:
    pair = effect.contrast
    names = {
        "leave-one-out": f"without {pair.component} ({pair.variant})",
        "cumulative": f"+ {pair.component} ({pair.variant} over {pair.baseline})",
        "variant": pair.variant,
        "named": f"{pair.variant} against {pair.baseline}",
    }
    return names.get(pair.kind, pair.component)
