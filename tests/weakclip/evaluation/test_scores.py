"""Scores by hand, on two images of three classes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from weakclip.evaluation.scores import mean_iou, scores_of

COUNTS = np.array(
    [
        [[6, 8, 7], [1, 2, 2], [0, 0, 0]],
        [[4, 4, 6], [0, 0, 0], [0, 3, 0]],
    ]
)
"""(N, K, 3): intersection, predicted, annotated."""


def test_counts_are_pooled_before_scores_are_formed() -> None:
    scores = scores_of(COUNTS, {}, decided=17, annotated=20)
    expected = {
        "iou": [10 / 15, 1 / 3, 0],
        "fp_rate": [2 / 15, 1 / 3, 1],
        "fn_rate": [3 / 15, 1 / 3, 0],
        "precision": [10 / 12, 1 / 2, 0],
        "recall": [10 / 13, 1 / 2, math.nan],
        "over_activation": [2 / 10, 1, math.nan],
        "under_activation": [3 / 10, 1, math.nan],
    }
    assert scores.per_class.keys() == expected.keys()
    for metric, values in expected.items():
        assert scores.per_class[metric].tolist() == pytest.approx(values, nan_ok=True), metric
    assert scores.mean("iou") == pytest.approx(1 / 3)
    assert scores.mean("recall") == pytest.approx((10 / 13 + 1 / 2) / 2)
    assert scores.mean("over_activation", foreground=True) == 1
    assert scores.overall == {
        "pixel_accuracy": 11 / 15,
        "frequency_weighted_iou": pytest.approx((13 * 10 / 15 + 2 / 3) / 15),
        "coverage": 0.85,
        "classes_annotated": 2,
        "classes_scored": 3,
        "classes_never_hit": 1,
    }


def test_the_three_parts_of_a_union_add_up_to_it() -> None:
    per_class = scores_of(COUNTS, {}, decided=1, annotated=1).per_class
    assert per_class["iou"] + per_class["fp_rate"] + per_class["fn_rate"] == pytest.approx(1)


def test_a_class_that_is_predicted_only_counts_by_rule() -> None:
    by_rule = scores_of(COUNTS, {}, decided=1, annotated=1).miou_by_absent
    assert by_rule["union"] == pytest.approx(1 / 3)
    assert by_rule["gt"] == pytest.approx(1 / 2)
    assert by_rule["eps"] == pytest.approx(1 / 3)
    assert by_rule["nan"] == pytest.approx(1 / 3)


def test_a_class_that_never_occurs_counts_by_rule() -> None:
    counts = np.array([[2, 2, 2], [0, 0, 0]])
    assert [float(mean_iou(counts, rule)) for rule in ("union", "gt")] == [1, 1]
    assert float(mean_iou(counts, "eps")) == pytest.approx(0.5)
    assert math.isnan(float(mean_iou(counts, "nan")))


def test_counts_of_a_large_set_do_not_overflow() -> None:
    counts = np.full((3, 2, 3), 2_000_000_000, dtype=np.int32)
    scores = scores_of(counts, {}, decided=1, annotated=1)
    assert scores.counts[0].tolist() == [6_000_000_000] * 3
    assert scores.mean("iou") == 1


def test_sizes_are_of_foreground_regions() -> None:
    by_size = scores_of(COUNTS * 1000, {}, decided=1, annotated=1).by_size
    value, regions = by_size["medium"]
    assert value == pytest.approx(1 / 3)
    assert regions == 1
    assert by_size["large"][1] == 0
