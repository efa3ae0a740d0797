"""Confidence intervals and tests for scores of few seeds on the same images.

A run's score varies with the seed (initialisation, batch order) and with the images on which it is
scored. All variants share seeds and images, so differences are paired, and seeds and images are
crossed random factors.

References:
    Satterthwaite, "An approximate distribution of estimates of variance components", 1946.
    Box, Hunter and Hunter, "Statistics for Experimenters", 2005 (seeds as blocks).
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (resampling of images).
    Holm, "A simple sequentially rejective multiple test procedure", 1979.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from weakclip.ops.confusion import miou

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and standard deviation (`ddof=1`) over seeds; the latter is NaN with one seed."""

    mean: float
    sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A weighted sum of variants' pooled mIoU with a 95 % interval, as fractions.

    Usually the paired difference of two variants; also a variant's score or a factorial effect.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    """Two-sided p-value of the null hypothesis that the sum is 0."""
    df: float
    """Satterthwaite's degrees of freedom."""
    variance_seeds: float
    """The part of the estimate's variance that is due to seeds. NaN with one seed: then the
    interval does not cover other seeds."""
    variance_images: float
    """The part of the estimate's variance that is due to images."""
    seeds: int
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedNoise:
    """The residual variance of variants x seeds, after variants' and seeds' means.

    With three seeds a single difference estimates its variance from two degrees of freedom. Pooled
    over all rows of a study the estimate is far more precise, if the variance is about equal.
    """

    variance: float
    df: int


@dataclass(frozen=True, slots=True)
class Resampled:
    """Pooled mIoU of V variants with the same S seeds and N images, also on resampled images."""

    by_seed: NDArray[np.float64]
    """Scores, (V, S)."""
    bootstrap: NDArray[np.float64]
    """Scores on each of R resamples of the images, the same for all variants, (V, S, R)."""
    images: int
    """Number N of images."""


def pooled_miou(counts: NDArray[np.number]) -> NDArray[np.float64]:
    """Return mIoU of counts summed over images, (..., N, K, 3) -> (...).

    Example:
        >>> float(pooled_miou(np.array([[[1, 1, 1]], [[0, 9, 0]]])))
        0.1
    """
    scores: NDArray[np.float64] = miou(torch.from_numpy(counts.sum(axis=-3))).numpy()
    return scores


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation of scores, one per seed."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Spread(mean=float(np.mean(values)), sd=sd)


def resample(
    counts: Sequence[NDArray[np.integer]], *, resamples: int = RESAMPLES, rng_seed: int = 0
) -> Resampled:
    """Score variants on their images and on bootstrap resamples of the images.

    Counts are (S, N, K, 3) for each variant, with seeds and images in the same order.

    Raises:
        ValueError: If the shapes differ or are not (S, N, K, 3).
    """
    shapes = {variant.shape for variant in counts}
    if len(shapes) != 1 or counts[0].ndim != 4:
        raise ValueError(f"counts: expected arrays of one shape (S, N, K, 3), got {sorted(shapes)}")
    images = counts[0].shape[1]
    generator = np.random.default_rng(rng_seed)
    weights = generator.multinomial(images, np.full(images, 1 / images), size=resamples)
    return Resampled(
        by_seed=np.stack([pooled_miou(variant) for variant in counts]),
        bootstrap=np.stack([_resampled_miou(variant, weights) for variant in counts]),
        images=images,
    )


def seed_noise(by_seed: NDArray[np.float64]) -> SeedNoise | None:
    """Return the residual variance of scores, (V, S), after variants' and seeds' means.

    Variants with equal scores for every seed are the same training and count once. None with fewer
    than three distinct variants or two seeds: then there is nothing to pool.

    Example:
        >>> noise = seed_noise(np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
        >>> noise.variance, noise.df
        (0.0, 2)
    """
    by_seed = np.unique(by_seed, axis=0)
    variants, seeds = by_seed.shape
    if variants < 3 or seeds < 2:
        return None
    rows, columns = by_seed.mean(axis=1, keepdims=True), by_seed.mean(axis=0, keepdims=True)
    df = (variants - 1) * (seeds - 1)
    residual = by_seed - rows - columns + by_seed.mean()
    return SeedNoise(variance=float((residual**2).sum()) / df, df=df)


def contrast(
    scores: Resampled, weights: Sequence[float], *, noise: SeedNoise | None = None
) -> Difference:
    """Return the weighted sum of variants' scores, with seeds and images as random factors.

    The variance is the sum of that between seeds and that under a bootstrap over images, which is
    the same for all variants and seeds. The interaction of seeds and images is in both terms, so
    the interval is slightly too wide rather than too narrow. `noise` is the variance over seeds
    pooled over a study, by default that of this contrast.
    """
    by_seed = _weighted(scores.by_seed, weights)
    seeds = len(by_seed)
    variance_images = float(_weighted(scores.bootstrap, weights).mean(axis=0).var(ddof=1))
    terms, variance_seeds = [(variance_images, scores.images - 1)], math.nan
    if seeds > 1:
        variance_seeds, df_seeds = _seed_term(scores.by_seed, weights, noise)
        terms.append((variance_seeds, df_seeds))
    low, high, p_value, df = _t_interval(float(by_seed.mean()), terms)
    return Difference(
        estimate=float(by_seed.mean()),
        low=low,
        high=high,
        p_value=p_value,
        df=df,
        variance_seeds=variance_seeds,
        variance_images=variance_images,
        seeds=seeds,
        images=scores.images,
    )


def paired_difference(
    counts: NDArray[np.integer],
    baseline: NDArray[np.integer],
    *,
    noise: SeedNoise | None = None,
    resamples: int = RESAMPLES,
    rng_seed: int = 0,
) -> Difference:
    """Compare two variants that were run with the same seeds and scored on the same images.

    Counts are (S, N, K, 3), seeds and images in the same order. `noise` is the variance over seeds
    pooled over a study, by default that of these two variants.

    Raises:
        ValueError: If the shapes differ or are not (S, N, K, 3).
    """
    scores = resample([counts, baseline], resamples=resamples, rng_seed=rng_seed)
    return contrast(scores, (1.0, -1.0), noise=noise)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values in the given order; NaN stays NaN and is not counted.

    Example:
        >>> holm([0.03, 0.01, 0.04])
        [0.06, 0.03, 0.06]
    """
    tested = [index for index, value in enumerate(p_values) if not math.isnan(value)]
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(tested, key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(tested) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _resampled_miou(
    counts: NDArray[np.integer], weights: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Pooled mIoU of counts, (S, N, K, 3), under weightings of the images, (R, N) -> (S, R)."""
    seeds, images, classes, _ = counts.shape
    flat = counts.reshape(seeds, images, classes * 3).astype(np.float64)
    pooled = (weights.astype(np.float64) @ flat).reshape(seeds, len(weights), classes, 3)
    scores: NDArray[np.float64] = miou(torch.from_numpy(pooled)).numpy()
    return scores


def _weighted(scores: NDArray[np.float64], weights: Sequence[float]) -> NDArray[np.float64]:
    """Weighted sum over variants, (V, ...) -> (...)."""
    shape = (-1, *[1] * (scores.ndim - 1))
    total: NDArray[np.float64] = (np.reshape(weights, shape) * scores).sum(axis=0)
    return total


def _seed_term(
    by_seed: NDArray[np.float64], weights: Sequence[float], noise: SeedNoise | None
) -> tuple[float, int]:
    """The variance of a contrast that is due to seeds, and its degrees of freedom.

    Pooled noise applies to each distinct row, so the weights of equal rows are added. (In a
    factorial study half of the rows may be equal, if a component cannot act without another.)
    """
    seeds = by_seed.shape[1]
    if noise is None:
        return float(_weighted(by_seed, weights).var(ddof=1)) / seeds, seeds - 1
    _, row = np.unique(by_seed, axis=0, return_inverse=True)
    distinct = np.bincount(row.ravel(), weights=weights)
    return noise.variance * float((distinct**2).sum()) / seeds, noise.df


def _t_interval(
    estimate: float, terms: Sequence[tuple[float, int]]
) -> tuple[float, float, float, float]:
    """Low, high, p-value and df of an estimate whose variance is a sum of (variance, df) terms."""
    variance = sum(value for value, _ in terms)
    if variance == 0:
        return estimate, estimate, 1.0 if estimate == 0 else 0.0, math.nan
    df = variance**2 / sum(value**2 / max(1, freedom) for value, freedom in terms)
    error = math.sqrt(variance)
    half = float(stats.t.ppf((1 + LEVEL) / 2, df)) * error
    p_value = 2 * float(stats.t.sf(abs(estimate) / error, df))
    return estimate - half, estimate + half, p_value, df
