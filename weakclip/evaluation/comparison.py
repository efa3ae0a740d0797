"""Significance of the difference between two results on the same images.

The test is paired: both results are scored on the same images. Images are drawn with replacement,
the same ones for both results, and the standard deviation of the difference over the draws gives a
t-interval with N - 1 degrees of freedom for N images. The benchmark uses the same interval for two
variants with one seed each (docs/statistics.md measures its coverage). It covers the choice of
images, not the variation between trainings.

References:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from weakclip.evaluation.scores import Absent, mean_iou

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
_AT_A_TIME = 50  # resamples, so that memory stays small with many images


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Difference of two pooled mIoUs, as fractions."""

    difference: float
    low: float
    high: float
    """Ends of the 95 % interval."""
    p_value: float
    """Two-sided p-value of no difference; NaN with one image."""
    images: int


def compare(
    counts: NDArray[np.integer],
    against: NDArray[np.integer],
    *,
    absent: Absent = "union",
    resamples: int = RESAMPLES,
    rng_seed: int = 0,
) -> Comparison:
    """Compare two results on the same N images: the first minus the second.

    Both are counts (N, K, 3): intersection, predicted, annotated. N images are drawn `resamples`
    times.

    Raises:
        ValueError: If the shapes differ.
    """
    if counts.shape != against.shape or counts.ndim != 3:
        raise ValueError(
            f"counts: expected one shape (N, K, 3), got {counts.shape}, {against.shape}"
        )
    images, classes, _ = counts.shape
    flat = [one.reshape(images, classes * 3).astype(np.float64) for one in (counts, against)]
    drawn: list[NDArray[np.float64]] = []
    for weights in draws(images, resamples, rng_seed):
        one, two = (
            mean_iou((weights.astype(np.float64) @ rows).reshape(-1, classes, 3), absent)
            for rows in flat
        )
        drawn.append(one - two)
    difference = float(
        mean_iou(counts.sum(axis=0, dtype=np.int64), absent)
        - mean_iou(against.sum(axis=0, dtype=np.int64), absent)
    )
    error = float(np.concatenate(drawn).std(ddof=1))
    low, high, p_value = interval(difference, error, images)
    return Comparison(difference=difference, low=low, high=high, p_value=p_value, images=images)


def draws(
    images: int, resamples: int = RESAMPLES, rng_seed: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Number of times each image is drawn, (r, N), for some of the `resamples` at a time."""
    generator = np.random.default_rng(rng_seed)
    chances = np.full(images, 1 / images)
    for start in range(0, resamples, _AT_A_TIME):
        yield generator.multinomial(images, chances, size=min(_AT_A_TIME, resamples - start))


def interval(difference: float, error: float, images: int) -> tuple[float, float, float]:
    """Ends of the 95 % interval of a difference over N images, and the p-value of no difference.

    `error` is the standard deviation of the difference over the draws.
    """
    if images == 1 or math.isnan(error):
        low = high = p_value = math.nan
    elif error == 0:
        low = high = difference
        p_value = 1.0 if difference == 0 else 0.0
    else:
        half = float(special.stdtrit(images - 1, (1 + LEVEL) / 2)) * error
        low, high = difference - half, difference + half
        p_value = 2 * float(special.stdtr(images - 1, -abs(difference) / error))
    return low, high, p_value
