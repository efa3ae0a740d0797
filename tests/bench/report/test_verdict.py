"""Sentences about effects: what is called measurable, in which direction, and what is not said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.report.verdict import headline, verdict
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


def test_the_headline_names_measurable_effects_largest_first_and_counts_the_rest() -> None:
    (sentence,) = headline([RECORD], EFFECTS)
    assert sentence == (
        "**task**: **without decoder (no-decoder)** costs 3.0 points [−4.0, −2.0], p < 0.001; "
        "**without prompt (no-prompt)** gains 1.2 points [+0.2, +2.2], p = 0.049. "
        "No measurable effect of the other 2 of 4 components left out one at a time."
    )


def test_of_many_measurable_effects_the_gains_are_named_and_the_rest_spanned() -> None:
    many = [
        effect(f"s{n}", points, 0.001, "variant")
        for n, points in enumerate((-9, -2, 4, -3, -5, -7))
    ]
    (sentence,) = headline([RECORD], many)
    assert sentence == (
        "**task**: **no-s2** gains 4.0 points [+3.0, +5.0], p = 0.001; 5 cost 2.0 to 9.0 points."
    )


def test_without_a_significant_effect_the_page_says_so_and_what_could_hide() -> None:
    weak = [EFFECTS[0], EFFECTS[3]]
    assert headline([RECORD], weak) == [
        "**task**: **no measurable effect** of any of 2 components left out one at a time."
    ]
    best, finding = verdict([RECORD], weak)
    assert best == "**task**: the best mean is 50.0 % mIoU, of full (1 seed; 1 rows)."
    assert "without adapter (no-adapter), without matching (no-matching)" in finding
    assert "an effect of up to 1.5 points may hide" in finding


def test_rows_of_one_slot_stand_in_the_headline_beside_what_is_left_out() -> None:
    one, two = effect("tau", -6.0, 0.001, "variant"), effect("a+b", -9.0, 0.001, "variant")
    (sentence,) = headline([RECORD], [*EFFECTS[:1], one, two])
    assert "**no-tau** costs 6.0 points" in sentence
    assert "no-a+b" not in sentence
    assert "other 1 of 2 rows compared with the reference" in sentence


def test_main_effects_come_before_single_rows_in_the_headline() -> None:
    found = [*EFFECTS, effect("adapter", 2.0, 0.01, "main")]
    assert headline([RECORD], found) == [
        "**task**: **adapter** gains 2.0 points [+1.0, +3.0], p = 0.010."
    ]


def test_estimates_have_no_sentence_and_named_comparisons_have_their_own() -> None:
    estimate = effect("prompt", 5.0, float("nan"), "leave-one-out")
    named = effect("all components together", -2.0, 0.01, "named")
    contours = replace(named, metric="boundary_miou")
    sentences = verdict([RECORD], [estimate, named, contours])[1:]
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        "All components together, task, mIoU", "All components together, task, boundary IoU",
    ]  # fmt: skip
    assert "**no-all components together against full** costs 2.0 points" in sentences[0]
    assert headline([RECORD], [estimate]) == []
    (sentence,) = headline([RECORD], [replace(named, p_holm=0.3)])
    assert sentence == (
        "**task**: **no measurable effect**: **no-all components together against full** costs "
        "2.0 points [−3.0, −1.0], p = 0.300."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"preset": "smoke"}, "the numbers mean nothing"), ({"status": "failed"}, "No run finished")],
)
def test_smoke_and_failed_studies_support_no_sentence(changes: dict[str, str], said: str) -> None:
    record = replace(RECORD, **changes)  # type: ignore[arg-type]
    for sentences in (headline([record], EFFECTS), verdict([record], EFFECTS)):
        assert len(sentences) == 1
        assert said in sentences[0]
