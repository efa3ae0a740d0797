"""The sentences at the top of the page: what differs, by how much, and what is not significant."""

from __future__ import annotations

from dataclasses import replace

from bench.report.sentences.findings import findings
from tests.bench.records import RECORD
from tests.bench.report.sentences.test_verdict import EFFECTS, effect


def test_measurable_differences_are_named_and_the_others_counted() -> None:
    (sentence,) = findings([RECORD], EFFECTS)
    assert sentence == (
        "Rows that change one part, on task: higher mIoU for **no-prompt** +1.2 [+0.2, +2.2]; "
        "lower mIoU for **no-decoder** −3.0 [−4.0, −2.0]; 2 not significant."
    )


def test_of_many_differences_the_largest_are_named_and_the_rest_spanned() -> None:
    points = (-9, -2, -3, -5, -7)
    (sentence,) = findings(
        [RECORD], [effect(f"s{n}", p, 0.001, "variant") for n, p in enumerate(points)]
    )
    assert "5 of 5 have a lower mIoU, by 2.0 to 9.0 points" in sentence
    assert "(most: **no-s0** −9.0 [−10.0, −8.0], **no-s4**" in sentence
    assert "no-s1" not in sentence


def test_tasks_without_a_difference_share_a_sentence_with_the_bounds_of_their_intervals() -> None:
    record = replace(
        RECORD,
        metrics={"task": {"miou": 0.5}, "other": {"miou": 0.5}},
        protocol={"main_tasks": ["task", "other"]},
    )
    weak = [EFFECTS[0], EFFECTS[3]]
    found = [*weak, *(replace(each, task="other") for each in weak)]
    assert findings([record], found) == [
        "Rows that change one part, on task and other: no difference of mIoU is significant; "
        "all 95 % intervals lie within −1.5 and +0.8 points."
    ]


def test_rows_that_change_several_parts_are_left_out_where_one_is_left_out() -> None:
    two = effect("a+b", -9.0, 0.001, "variant")
    (sentence,) = findings([RECORD], [*EFFECTS[:1], two])
    assert "no-a+b" not in sentence


def test_main_effects_come_before_single_rows() -> None:
    (sentence,) = findings([RECORD], [*EFFECTS, effect("adapter", 2.0, 0.01, "main")])
    assert sentence == "The main effects, on task: higher mIoU for **adapter** +2.0 [+1.0, +3.0]."


def test_what_is_not_tested_is_not_mentioned_where_something_is() -> None:
    estimates = [effect("prompt", 9.0, float("nan"), "leave-one-out")]
    (sentence,) = findings([RECORD], [*estimates, effect("tau", -0.1, 0.9, "variant")])
    assert "−1.1 and +0.9" in sentence
