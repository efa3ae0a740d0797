"""Sentences about effects: what is called measurable, in which direction, and what is not said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.report.sentences.findings import findings
from bench.report.sentences.verdict import verdict
from bench.stats.effects import Contrast, Effect
from bench.stats.statistics import Difference
from tests.bench.records import RECORD

if TYPE_CHECKING:
    from bench.stats.effects import ContrastKind


def effect(component: str, points: float, p_holm: float, kind: ContrastKind) -> Effect:
    value = Difference(
        estimate=points / 100, low=(points - 1) / 100, high=(points + 1) / 100, p_value=p_holm / 4,
        df=3, variance_seeds=0, variance_images=0, seeds=3, images=600,
    )  # fmt: skip
    pair = Contrast(kind=kind, component=component, variant=f"no-{component}", baseline="full")
    return Effect(contrast=pair, task="task", metric="miou", difference=value, p_holm=p_holm)


EFFECTS = [
    effect("adapter", -0.5, 0.4, "leave-one-out"),
    effect("prompt", 1.25, 0.049, "leave-one-out"),
    effect("decoder", -3.0, 0.0001, "leave-one-out"),
    effect("matching", -0.2, 0.05, "leave-one-out"),
]


def test_without_a_significant_effect_it_is_said_what_could_hide() -> None:
    best, finding = verdict([RECORD], [EFFECTS[0], EFFECTS[3]])
    assert best == "**task**: the best mean is 50.0 % mIoU, of full (1 seed; 1 rows)."
    assert "without adapter (no-adapter), without matching (no-matching)" in finding
    assert "an effect of up to 1.5 points may hide" in finding


def test_estimates_have_no_sentence_and_named_comparisons_have_their_own() -> None:
    estimate = effect("prompt", 5.0, float("nan"), "leave-one-out")
    named = effect("all components together", -2.0, 0.01, "named")
    contours = replace(named, metric="boundary_miou")
    sentences = verdict([RECORD], [estimate, named, contours])[1:]
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        "All components together, task, mIoU", "All components together, task, boundary IoU",
    ]  # fmt: skip
    assert "**no-all components together against full** costs 2.0 points" in sentences[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"preset": "smoke"}, "the numbers mean nothing"), ({"status": "failed"}, "No run finished")],
)
def test_smoke_and_failed_studies_support_no_sentence(changes: dict[str, str], said: str) -> None:
    record = replace(RECORD, **changes)  # type: ignore[arg-type]
    for sentences in (findings([record], EFFECTS), verdict([record], EFFECTS)):
        assert len(sentences) == 1
        assert said in sentences[0]
