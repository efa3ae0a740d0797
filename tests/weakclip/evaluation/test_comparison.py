"""The interval is that of the benchmark for two variants with one seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.stats.statistics import paired_difference
from weakclip.evaluation.comparison import compare


def random_counts(seed: int, images: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    generator = np.random.default_rng(seed)
    hits = generator.integers(0, 50, (images, 4))
    more = generator.integers(0, 50, (images, 4, 2))
    return np.concatenate([hits[..., None], hits[..., None] + more], axis=-1).astype(np.int32)


@pytest.mark.parametrize("images", [2, 7, 60])
def test_the_interval_is_that_of_the_benchmark(images: int) -> None:
    one, two = random_counts(1, images), random_counts(2, images)
    found = compare(one, two)
    benchmark = paired_difference(one[None], two[None])
    assert found.images == images
    assert found.difference == pytest.approx(benchmark.estimate, rel=1e-12)
    assert found.low == pytest.approx(benchmark.low, rel=1e-9)
    assert found.high == pytest.approx(benchmark.high, rel=1e-9)
    assert found.p_value == pytest.approx(benchmark.p_value, rel=1e-9)


def test_a_result_does_not_differ_from_itself() -> None:
    found = compare(random_counts(1, 9), random_counts(1, 9))
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_one_image_says_nothing_about_others() -> None:
    found = compare(random_counts(1, 1), random_counts(2, 1))
    assert found.difference != 0
    assert math.isnan(found.low)
    assert math.isnan(found.p_value)


def test_the_mean_over_classes_follows_the_rule_for_absent_ones() -> None:
    one, two = random_counts(1, 9), random_counts(2, 9)
    one[:, 3] = two[:, 3] = 0
    union, eps = compare(one, two), compare(one, two, absent="eps")
    assert eps.difference == pytest.approx(union.difference * 3 / 4)


def test_other_images_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="expected one shape"):
        compare(random_counts(1, 9), random_counts(2, 8))
