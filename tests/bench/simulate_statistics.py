"""Do the intervals hold what they promise? Simulated studies whose truth is known.

    python -m tests.bench.simulate_statistics TRIALS

A simulated study is like ours: a few hundred images, 21 classes of which an image shows one to
three and the background, three seeds, pixel counts, mIoU of pooled counts. Quality varies with the
class, the image, the seed, the class within a seed, and the image within a seed. The truth is the
mean over many seeds of the mIoU pooled over many images. Prints the table of docs/statistics.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from bench.stats.statistics import (
    contrast,
    paired_difference,
    pooled_miou,
    resample,
    seed_noise,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

CLASSES = 21
RESAMPLES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How the scores of two variants vary; standard deviations in units of recall."""

    images: int = 300
    seeds: int = 3
    effect: float = 0.02
    """What the variant adds to the recall of the baseline."""
    seed_sd: float = 0.004
    """Of all classes together, per variant and seed."""
    class_seed_sd: float = 0.01
    """Of each class on its own, per variant and seed."""
    image_sd: float = 0.12
    """Shared by variants and seeds: hard images are hard for all."""
    variant_image_sd: float = 0.06
    """Per variant and image, shared by seeds."""
    noise_sd: float = 0.05
    """Per variant, seed, image and class."""


def draw(
    world: World,
    generator: np.random.Generator,
    effects: tuple[float, ...],
    scales: tuple[float, ...] = (),
) -> list[Counts]:
    """Counts of one variant per effect, (S, N, K, 3) each, on the same images.

    `scales` multiply what seeds do to each variant; by default they do the same to all.
    """
    seeds, images = world.seeds, world.images
    shown = generator.random((images, CLASSES)) < 0.09
    shown[np.arange(images), generator.integers(1, CLASSES, images)] = True
    shown[:, 0] = True
    size = np.where(shown, 2000 * np.exp(generator.normal(0, 0.6, (images, CLASSES))), 0)
    size[:, 0] *= 4
    hardness = world.image_sd * generator.normal(size=(images, CLASSES))
    base = np.linspace(0.55, 0.9, CLASSES)
    return [
        _counts(_scaled(world, scale), generator, size, base + effect + hardness, (seeds, images))
        for effect, scale in zip(effects, scales or (1.0,) * len(effects), strict=True)
    ]


def _scaled(world: World, scale: float) -> World:
    return replace(world, seed_sd=scale * world.seed_sd, class_seed_sd=scale * world.class_seed_sd)


def _counts(
    world: World,
    generator: np.random.Generator,
    size: NDArray[np.float64],
    quality: NDArray[np.float64],
    shape: tuple[int, int],
) -> Counts:
    seeds, images = shape
    recall = (
        quality
        + world.seed_sd * generator.normal(size=(seeds, 1, 1))
        + world.class_seed_sd * generator.normal(size=(seeds, 1, CLASSES))
        + world.variant_image_sd * generator.normal(size=(1, images, CLASSES))
        + world.noise_sd * generator.normal(size=(seeds, images, CLASSES))
    )
    annotated = np.broadcast_to(np.round(size), recall.shape)
    found = np.round(annotated * np.clip(recall, 0, 1))
    wrong = np.round(0.3 * annotated * (1 - np.clip(recall, 0, 1)))
    return np.stack([found, found + wrong, annotated], axis=-1).astype(np.int64)


def truth_of(world: World, effect: float) -> float:
    """The mIoU of a variant over many seeds, pooled over many images."""
    generator = np.random.default_rng(12345)
    many = replace(world, images=4000, seeds=40)
    return float(pooled_miou(draw(many, generator, (effect,))[0]).mean())


def difference_coverage(world: World, trials: int, rng_seed: int) -> tuple[float, float]:
    """Share of 95 % intervals of the difference that hold the truth; share of p below 0.05."""
    generator = np.random.default_rng(rng_seed)
    truth = truth_of(world, world.effect) - truth_of(world, 0.0) if world.effect else 0.0
    hits = rejected = 0
    for trial in range(trials):
        variant, baseline = draw(world, generator, (world.effect, 0.0))
        found = paired_difference(variant, baseline, resamples=RESAMPLES, rng_seed=trial)
        hits += found.low <= truth <= found.high
        rejected += found.p_value < 0.05
    return hits / trials, rejected / trials


def pooled_coverage(
    world: World, scales: tuple[float, ...], trials: int, rng_seed: int
) -> tuple[float, float, float]:
    """A study of one row per scale, each compared with the first, as in a table.

    Returns:
        Share of 95 % intervals that hold the truth, with the noise of the seeds pooled over the
        rows; the same of the worst row; and how wide they are beside those of each pair alone.
    """
    generator = np.random.default_rng(rng_seed)
    effects = tuple(np.linspace(0, world.effect, len(scales)).tolist())
    truths = [truth_of(_scaled(world, s), e) for e, s in zip(effects, scales, strict=True)]
    hits, pooled, alone = np.zeros(len(scales) - 1), 0.0, 0.0
    for trial in range(trials):
        rows = draw(world, generator, effects, scales)
        noise = seed_noise(np.stack([pooled_miou(row) for row in rows]))
        for row in range(1, len(rows)):
            found, own = (
                paired_difference(
                    rows[row], rows[0], noise=each, resamples=RESAMPLES, rng_seed=trial
                )
                for each in (noise, None)
            )
            hits[row - 1] += found.low <= truths[row] - truths[0] <= found.high
            pooled += found.high - found.low
            alone += own.high - own.low
    return float(hits.mean()) / trials, float(hits.min()) / trials, pooled / alone


def score_coverage(world: World, trials: int, rng_seed: int) -> tuple[float, float]:
    """Share of 95 % intervals of one variant's score that hold the truth.

    Returns:
        With seeds and images as random factors; with seeds only (t-interval of the
        mean), for comparison.
    """
    generator, truth = np.random.default_rng(rng_seed), truth_of(world, 0.0)
    both = seeds_only = 0
    for trial in range(trials):
        (counts,) = draw(world, generator, (0.0,))
        found = contrast(resample([counts], resamples=RESAMPLES, rng_seed=trial), (1.0,))
        both += found.low <= truth <= found.high
        scores = pooled_miou(counts)
        low, high = stats.t.interval(0.95, len(scores) - 1, scores.mean(), stats.sem(scores))
        seeds_only += low <= truth <= high
    return both / trials, seeds_only / trials


def permutation_p_value(
    variant: Counts, baseline: Counts, *, permutations: int, rng_seed: int = 0
) -> float:
    """Two-sided p-value of the null hypothesis that the variants are exchangeable on each image.

    Exchanges whole images, for all seeds at once, and makes no assumption about distributions. The
    test is about these trained models only: with few seeds it cannot distinguish an effect of the
    seeds from one of the variants, for which `paired_difference` allows.

    References:
        Good, "Permutation, Parametric, and Bootstrap Tests of Hypotheses", 2005.
    """

    def difference(one: Counts, two: Counts) -> float:
        return abs(float((pooled_miou(one) - pooled_miou(two)).mean()))

    observed, generator = difference(variant, baseline), np.random.default_rng(rng_seed)
    as_large = 0
    for exchanged in generator.integers(0, 2, (permutations, variant.shape[1])):
        kept = exchanged[:, None, None] == 0
        pair = np.where(kept, variant, baseline), np.where(kept, baseline, variant)
        as_large += difference(*pair) >= observed - 1e-12
    return (1 + as_large) / (1 + permutations)


def permutation_errors(world: World, trials: int, rng_seed: int) -> float:
    """Share of permutation p-values below 0.05 when there is no effect."""
    generator, rejected = np.random.default_rng(rng_seed), 0
    for trial in range(trials):
        variant, baseline = draw(world, generator, (0.0, 0.0))
        p_value = permutation_p_value(variant, baseline, permutations=RESAMPLES, rng_seed=trial)
        rejected += p_value < 0.05
    return rejected / trials


def main(trials: int) -> None:
    """Print the table."""
    world = World()
    quiet = replace(world, seed_sd=0.0, class_seed_sd=0.0)
    null = replace(world, effect=0.0)
    lines = [
        ("difference of two variants, 3 seeds: coverage", difference_coverage(world, trials, 1)[0])
    ]
    for seeds in (2, 5):
        some = replace(world, seeds=seeds)
        lines.append((f"the same, {seeds} seeds", difference_coverage(some, trials, seeds)[0]))
    lines.append(("the same, seeds do not matter", difference_coverage(quiet, trials, 6)[0]))
    lines.append(("no difference: p < 0.05", difference_coverage(null, trials, 7)[1]))
    for name, scales in (
        ("8 rows, noise of the seeds pooled", (1.0,) * 8),
        ("the same, that noise 0.5 to 1.5 times as large", tuple(np.linspace(0.5, 1.5, 8))),
    ):
        mean, worst, width = pooled_coverage(world, scales, trials // 8, 11)
        lines.append((f"{name}: coverage", mean))
        lines.append((f"{name}: coverage of the worst row", worst))
        lines.append((f"{name}: width beside intervals of each pair alone", width))
    both, seeds_only = score_coverage(world, trials, 8)
    lines.append(("score of one variant, seeds and images: coverage", both))
    lines.append(("score of one variant, t-interval over seeds only: coverage", seeds_only))
    lines.append(
        ("permutation, seeds do not matter: p < 0.05", permutation_errors(quiet, trials, 9))
    )
    lines.append(("permutation, seeds matter: p < 0.05", permutation_errors(world, trials, 10)))
    for name, value in lines:
        sys.stdout.write(f"| {name} | {100 * value:.1f} % |\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
