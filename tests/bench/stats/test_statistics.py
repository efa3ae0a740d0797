from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.stats.statistics import (
    SeedNoise,
    contrast,
    holm,
    paired_difference,
    pooled_miou,
    resample,
    seed_noise,
    spread,
)
from tests.bench.simulate_statistics import (
    World,
    difference_coverage,
    permutation_errors,
    permutation_p_value,
    pooled_coverage,
    score_coverage,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def counts_of(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """One class, 1000 pixels per image; the share found is the IoU: (S, N) -> (S, N, 1, 3)."""
    found = np.round(1000 * np.clip(shares, 0, 1)).astype(np.int64)
    return np.stack([found, found, np.full_like(found, 1000)], axis=-1)[:, :, None]


def crossed(
    generator: np.random.Generator, seeds: int, images: int, effect: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A variant and its baseline whose difference varies with seeds, images and both."""
    noise = (
        generator.normal(0, 0.01, (seeds, 1))
        + generator.normal(0, 0.1, (1, images))
        + generator.normal(0, 0.05, (seeds, images))
    )
    baseline = np.full((seeds, images), 0.7)
    return counts_of(baseline + effect + noise), counts_of(baseline)


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_intervals_cover_the_true_difference_19_times_in_20(seeds: int) -> None:
    generator, hits, trials = np.random.default_rng(seeds), 0, 600
    for trial in range(trials):
        variant, baseline = crossed(generator, seeds, 100, 0.02)
        if seeds == 1:  # then the effect of this seed is not covered, by design
            variant = counts_of(0.72 + generator.normal(0, 0.1, (1, 100)))
        found = paired_difference(variant, baseline, resamples=200, rng_seed=trial)
        hits += found.low <= 0.02 <= found.high
    assert 0.93 <= hits / trials <= 0.97


def test_a_difference_equals_the_mean_over_seeds_of_pooled_scores() -> None:
    variant, baseline = crossed(np.random.default_rng(0), 3, 20, 0.1)
    found = paired_difference(variant, baseline)
    by_hand = np.mean(
        [v[:, 0, 0].sum() / v[:, 0, 2].sum() for v in variant]
        - np.array([b[:, 0, 0].sum() / b[:, 0, 2].sum() for b in baseline])
    )
    assert found.estimate == pytest.approx(by_hand)
    assert (found.seeds, found.images) == (3, 20)
    assert found == paired_difference(variant, baseline)


def test_the_variance_over_images_is_that_of_the_mean() -> None:
    """For one class of equal-sized images the pooled IoU is a mean, whose variance is known."""
    variant, baseline = crossed(np.random.default_rng(1), 1, 400, 0.0)
    shares = variant[0, :, 0, 0] / 1000
    found = paired_difference(variant, baseline, resamples=4000)
    assert found.variance_images == pytest.approx(shares.var() / 400, rel=0.1)


def test_equal_runs_differ_by_nothing() -> None:
    variant, _ = crossed(np.random.default_rng(2), 3, 10, 0.0)
    found = paired_difference(variant, variant)
    assert (found.estimate, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_one_seed_says_that_seeds_are_not_covered() -> None:
    variant, baseline = crossed(np.random.default_rng(3), 1, 30, 0.3)
    found = paired_difference(variant, baseline)
    assert math.isnan(found.variance_seeds)
    assert found.df == pytest.approx(29)
    assert found.p_value < 1e-6


def test_unpaired_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="arrays of one shape"):
        paired_difference(np.ones((2, 5, 1, 3), int), np.ones((2, 4, 1, 3), int))


def test_a_class_absent_from_a_resample_is_left_out() -> None:
    counts = np.zeros((2, 3, 2, 3), int)
    counts[:, :, 0] = [5, 10, 10]
    counts[:, 0, 1] = [1, 1, 1]
    assert pooled_miou(counts).tolist() == pytest.approx([(1 / 3 + 1) / 2] * 2)
    assert not math.isnan(paired_difference(counts, counts // 2).low)


def test_spread_by_hand() -> None:
    found = spread([0.5, 0.6, 0.7])
    assert (found.mean, found.sd) == pytest.approx((0.6, 0.1))
    assert math.isnan(spread([0.5]).sd)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, math.nan])[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(holm([0.01, math.nan])[1])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


TRIALS = 150


def test_21_classes_few_seeds_intervals_and_test_keep_their_promise() -> None:
    """The table of docs/statistics.md with fewer trials; the bounds are three standard errors."""
    error = 3 * math.sqrt(0.05 * 0.95 / TRIALS)
    assert difference_coverage(World(), TRIALS, 1)[0] >= 0.95 - error
    assert difference_coverage(World(effect=0.0), TRIALS, 7)[1] <= 0.05 + error
    both, seeds_only = score_coverage(World(), TRIALS, 8)
    assert both >= 0.95 - error
    assert seeds_only < both - 0.05


def test_the_permutation_test_is_for_these_trained_models() -> None:
    error = 3 * math.sqrt(0.05 * 0.95 / TRIALS)
    world = World()
    no_seed_effects = replace(world, seed_sd=0.0, class_seed_sd=0.0)
    assert permutation_errors(no_seed_effects, TRIALS, 9) <= 0.05 + error
    assert permutation_errors(world, TRIALS, 10) > 0.08


def test_the_permutation_test_equals_all_exchanges_by_hand() -> None:
    """Three images: all 8 exchanges, written out; the random ones come close to their share."""
    variant = counts_of(np.array([[0.9, 0.6, 0.7]]))
    baseline = counts_of(np.array([[0.5, 0.5, 0.6]]))
    observed = 2.2 - 1.6
    differences = [
        sum(sign * gap for sign, gap in zip(signs, (0.4, 0.1, 0.1), strict=True))
        for signs in product((1, -1), repeat=3)
    ]
    share = np.mean([abs(value) >= observed - 1e-9 for value in differences])
    assert share == 0.25
    found = permutation_p_value(variant, baseline, permutations=4000)
    assert found == pytest.approx(share, abs=0.03)
    assert found == permutation_p_value(variant, baseline, permutations=4000)


def test_a_clear_difference_has_a_small_permutation_p_value_and_none_has_one() -> None:
    variant, baseline = crossed(np.random.default_rng(5), 3, 50, 0.2)
    assert permutation_p_value(variant, baseline, permutations=500) == pytest.approx(1 / 501)
    assert permutation_p_value(variant, variant, permutations=500) == 1.0


def test_the_interval_of_a_score_has_both_sources_of_variance() -> None:
    variant, _ = crossed(np.random.default_rng(6), 3, 100, 0.0)
    found = contrast(resample([variant]), (1.0,))
    narrow = spread([float(score) for score in pooled_miou(variant)])
    assert found.estimate == pytest.approx(narrow.mean)
    assert found.variance_seeds == pytest.approx((narrow.sd**2) / 3)
    assert found.variance_images > 0
    assert found.low < found.estimate < found.high


def test_contrasts_share_their_resamples() -> None:
    """a - b and b - c add up to a - c in every resample, so the estimates and variances fit."""
    generator = np.random.default_rng(7)
    cells = [crossed(generator, 3, 60, 0.05 * index)[0] for index in range(3)]
    scores = resample(cells)
    steps = [contrast(scores, weights).estimate for weights in ((1, -1, 0), (0, 1, -1))]
    assert contrast(scores, (1, 0, -1)).estimate == pytest.approx(sum(steps))
    assert contrast(scores, (1, -1, 0)) == paired_difference(cells[0], cells[1])


def test_noise_of_the_seeds_is_what_neither_rows_nor_seeds_explain() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [5.0, 6.0, 7.0]])
    noise = seed_noise(scores)
    assert noise is not None
    assert noise.variance == pytest.approx(0.0, abs=1e-12)
    assert noise.df == 4
    scores[0, 0] += 0.9
    disturbed = seed_noise(scores)
    assert disturbed is not None
    # The residual of one disturbed cell of a V x S table is (V-1)(S-1)/(VS) of its square in all.
    assert disturbed.variance == pytest.approx(0.81 * (2 * 2 / 9) / 4)


def test_noise_is_not_pooled_over_two_rows_or_one_seed() -> None:
    assert seed_noise(np.zeros((2, 3))) is None
    assert seed_noise(np.zeros((5, 1))) is None


def test_pooled_noise_replaces_that_of_the_contrast() -> None:
    counts = np.random.default_rng(0).integers(1, 50, (2, 3, 20, 4, 3))
    counts[..., 0] = counts[..., 1:].min(axis=-1) // 2
    alone = paired_difference(counts[0], counts[1])
    pooled = paired_difference(counts[0], counts[1], noise=SeedNoise(variance=3e-4, df=14))
    assert pooled.estimate == alone.estimate
    assert pooled.variance_images == alone.variance_images
    assert pooled.variance_seeds == pytest.approx(2 * 3e-4 / 3)
    both, seeds = pooled.variance_images + pooled.variance_seeds, pooled.variance_seeds
    expected = both**2 / (seeds**2 / 14 + pooled.variance_images**2 / 19)
    assert pooled.df == pytest.approx(expected)


def test_pooled_noise_keeps_the_promise_of_the_intervals() -> None:
    mean, worst, width = pooled_coverage(World(images=120), (1.0,) * 5, trials=40, rng_seed=1)
    assert 0.90 <= mean <= 0.99
    assert worst >= 0.85
    assert width < 1


def test_rows_that_are_one_training_under_two_names_count_once() -> None:
    generator = np.random.default_rng(4)
    one, other = crossed(generator, 3, 30, 0.1)
    noise = SeedNoise(variance=3e-4, df=14)
    pair = contrast(resample([one, other]), (1, -1), noise=noise)
    twice = contrast(resample([one, one, other]), (0.5, 0.5, -1), noise=noise)
    assert twice.variance_seeds == pytest.approx(pair.variance_seeds)
    assert twice.variance_seeds == pytest.approx(2 * 3e-4 / 3)
    scores = generator.normal(size=(4, 3))
    assert seed_noise(np.concatenate([scores, scores[:2]])) == seed_noise(scores)
