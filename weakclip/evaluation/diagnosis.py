"""Which kind of error costs most mIoU: the gain in mIoU if it did not occur.

A cause is a set of wrong pixels. Correcting a pixel makes it a true positive of its annotated class
and removes it from the predicted one. The gain is the mIoU with the corrected counts minus the
actual mIoU. Gains do not add up, because causes overlap (a missed pixel of a cat may lie near a
contour) and mIoU is not a sum. Correcting everything gives 100 %.

References:
    Hoiem, Chodpathumwan and Dai, "Diagnosing Error in Object Detectors", ECCV 2012 (the score if
    one kind of error were removed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from weakclip.evaluation.causes import CONTOUR, WIDTHS, View, causes_of, contour_groups, views_of
from weakclip.evaluation.comparison import draws, interval
from weakclip.evaluation.scores import Absent, mean_iou
from weakclip.ops.cells import GROUP, IMAGE, PIXELS, PREDICTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from weakclip.evaluation.causes import Cause


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The effect of a cause; fractions are NaN where the denominator is 0."""

    cause: Cause
    gain: NDArray[np.float64]
    """mIoU without these errors minus mIoU, for each of R weightings of the images."""
    errors: float
    """Fraction of all wrong pixels."""
    pixels: float
    """Fraction of all pixels that belong to the cause's groups and annotated classes."""
    right: float
    """Fraction of those pixels that do not have this error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a cause, as fractions."""

    view: str
    name: str
    gain: float
    low: float
    high: float
    """Ends of the 95 % interval of the gain, over the choice of images."""
    errors: float
    pixels: float
    right: float


def measure(
    view: View,
    causes: Sequence[Cause],
    weightings: Iterable[NDArray[np.integer]],
    num_classes: int,
    absent: Absent = "union",
) -> list[Measured]:
    """The effect of each cause under weightings of N images.

    `weightings` are arrays (r, N): how often each image counts; `num_classes` is K, background
    included.
    """
    keys, pixels = _pooled(view.cells, num_classes)
    wrong = keys[:, 1] != keys[:, 2]
    design = _design(keys[:, 1], keys[:, 2], num_classes)
    corrected = _design(keys[:, 1], keys[:, 1], num_classes) - design
    places = [_inside(cause, keys) for cause in causes]
    gains: list[list[NDArray[np.float64]]] = [[] for _ in causes]
    for weights in weightings:
        drawn = np.asarray(pixels.T @ weights[:, : pixels.shape[0]].T.astype(np.float64)).T
        counts = drawn @ design
        base = _score(counts, num_classes, absent)
        for gain, (_, chosen) in zip(gains, places, strict=True):
            better = counts + drawn[:, chosen] @ corrected[chosen]
            gain.append(_score(better, num_classes, absent) - base)
    all_images = np.asarray(pixels.sum(axis=0)).ravel()
    total, errors = all_images.sum(), all_images[wrong].sum()
    found = []
    for cause, gain, (area, chosen) in zip(causes, gains, places, strict=True):
        inside, lost = all_images[area].sum(), all_images[chosen].sum()
        shares = (_share(lost, errors), _share(inside, total), _share(inside - lost, inside))
        found.append(Measured(cause, np.concatenate(gain), *shares))
    return found


def diagnose(
    cells: NDArray[np.integer],
    class_names: Sequence[str],
    images: int,
    *,
    widths: Sequence[int] = WIDTHS,
    absent: Absent = "union",
) -> tuple[Cost, ...]:
    """The causes of one result on N images, from its cells by band, the costliest first."""
    found = []
    for view in views_of(View(CONTOUR, contour_groups(widths), cells)):
        everything = np.ones((1, images), dtype=np.int64)
        weightings = (everything, *draws(images))
        found += measure(view, causes_of(view, class_names), weightings, len(class_names), absent)
    costs = [_cost(each, images) for each in found]
    return tuple(sorted(costs, key=lambda cost: -cost.gain if cost.gain == cost.gain else 1.0))


def _cost(found: Measured, images: int) -> Cost:
    gain = float(found.gain[0])
    low, high, _ = interval(gain, float(found.gain[1:].std(ddof=1)), images)
    return Cost(
        view=found.cause.view, name=found.cause.name, gain=gain, low=low, high=high,
        errors=found.errors, pixels=found.pixels, right=found.right,
    )  # fmt: skip


def _inside(cause: Cause, keys: NDArray[np.integer]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of the cells: in the groups and annotated classes of a cause; corrected by it."""
    area = np.ones(len(keys), dtype=np.bool_)
    for column, wanted in ((0, cause.groups), (1, cause.truth)):
        if wanted:
            area &= np.isin(keys[:, column], wanted)
    chosen = area & (keys[:, 1] != keys[:, 2])
    if cause.predicted:
        chosen &= np.isin(keys[:, 2], cause.predicted)
    return area, chosen


def _pooled(
    cells: NDArray[np.integer], num_classes: int
) -> tuple[NDArray[np.int64], sparse.csr_matrix]:
    """Occurring (group, annotated, predicted), (C, 3), and their pixels by image, (N, C)."""
    sizes = (int(cells[:, GROUP].max(initial=0)) + 1, num_classes, num_classes + 1)
    codes = np.ravel_multi_index(cells[:, GROUP : PREDICTED + 1].T, sizes)
    known, column = np.unique(codes, return_inverse=True)
    keys = np.stack(np.unravel_index(known, sizes), axis=1)
    images = int(cells[:, IMAGE].max(initial=-1)) + 1
    shape = (images, len(known))
    values = cells[:, PIXELS].astype(np.float64)
    return keys, sparse.csr_matrix((values, (cells[:, IMAGE], column)), shape=shape)


def _design(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int
) -> NDArray[np.float64]:
    """Contribution of one pixel of each cell to the counts of the classes, (C, K * 3)."""
    design = np.zeros((len(truth), num_classes + 1, 3))  # the last class is undecided
    rows = np.arange(len(truth))
    design[rows, truth, 2] = 1
    design[rows, predicted, 1] = 1
    design[rows, truth, 0] = truth == predicted
    return design[:, :num_classes].reshape(len(truth), -1)


def _score(counts: NDArray[np.float64], num_classes: int, absent: Absent) -> NDArray[np.float64]:
    return mean_iou(counts.reshape(len(counts), num_classes, 3), absent)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan
