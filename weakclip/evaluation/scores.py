"""Scores of a result from its pixel counts.

Counts are pooled over all images before scores are computed; the mean of per-image scores would be
a different number. For a class with TP correct, T annotated and P predicted pixels, U = T + P - TP:

    iou               TP / U
    fp_rate, fn_rate  (P - TP) / U and (T - TP) / U; the three add up to 1 (irn, MCTformer, WeakTr)
    over_activation   (P - TP) / TP, under_activation (T - TP) / TP (SEAM's m_FP and m_FN)
    precision         TP / P, recall TP / T

References:
    Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010 (IoU).
    Wang et al., "Self-Supervised Equivariant Attention Mechanism", CVPR 2020 (m_FP, m_FN).
    Cheng et al., "Boundary IoU", CVPR 2021.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from weakclip.ops.confusion import iou_from_counts, precision_from_counts, recall_from_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Absent = Literal["union", "gt", "eps", "nan"]
"""How a class without pixels enters the mean over classes. `union`: left out if it is neither
annotated nor predicted (irn, mmsegmentation); `gt`: left out if it is not annotated (CLIP-ES,
deeplab-pytorch); `eps`: counts as 0 (SEAM, MCTformer); `nan`: the mean is NaN (VOC's devkit)."""
ABSENT: tuple[Absent, ...] = ("union", "gt", "eps", "nan")

SIZES = {"small": (1, 32**2), "medium": (32**2, 96**2), "large": (96**2, math.inf)}
"""Ranges of the pixels of a class in an image, lower end included, as for COCO's objects."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """All scores of one result, as fractions; NaN where undefined."""

    per_class: Mapping[str, NDArray[np.float64]]
    """For each metric one value per class, (K,), background first."""
    counts: NDArray[np.int64]
    """(K, 3): TP, P, T."""
    miou_by_absent: Mapping[Absent, float]
    overall: Mapping[str, float]
    """Metrics of the whole set, e.g. `pixel_accuracy` and `coverage`; also numbers of classes."""
    by_size: Mapping[str, tuple[float, int]]
    """Mean IoU of the foreground classes and number of regions, by size of the region. A region is
    all pixels of a class in an image."""

    def mean(self, metric: str, *, foreground: bool = False) -> float:
        """Mean over the classes with a defined value; NaN if there are none."""
        return float(_mean(self.per_class[metric][1 if foreground else 0 :]))


def scores_of(
    counts: NDArray[np.integer],
    boundary: Mapping[float, NDArray[np.integer]],
    *,
    decided: int,
    annotated: int,
) -> Scores:
    """Compute all scores from the counts of N images.

    Args:
        counts: (N, K, 3): intersection, predicted, annotated.
        boundary: For each width, counts (K, 3) pooled over the images.
        decided: Number of annotated pixels with a predicted class.
        annotated: Number of annotated pixels.
    """
    pooled = counts.sum(axis=0, dtype=np.int64)
    hits, predicted, truth = pooled.astype(np.float64).T
    union = truth + predicted - hits
    rates = error_rates(pooled)
    per_class = {
        "iou": iou_of(pooled),
        "fp_rate": rates["fp_rate"],
        "fn_rate": rates["fn_rate"],
        "precision": precision_from_counts(torch.from_numpy(pooled)).numpy(),
        "recall": recall_from_counts(torch.from_numpy(pooled)).numpy(),
        "over_activation": rates["over_activation"],
        "under_activation": rates["under_activation"],
    }
    for width, numbers in boundary.items():
        per_class[f"boundary_iou_{width:g}"] = iou_of(numbers)
    shares = _ratio(truth, np.full_like(truth, truth.sum()))
    return Scores(
        per_class=per_class,
        counts=pooled,
        miou_by_absent={absent: float(mean_iou(pooled, absent)) for absent in ABSENT},
        overall={
            "pixel_accuracy": float(hits.sum() / truth.sum()) if truth.any() else math.nan,
            "frequency_weighted_iou": float(np.nansum(shares * per_class["iou"])),
            "coverage": decided / annotated if annotated else math.nan,
            "classes_annotated": int((truth > 0).sum()),
            "classes_scored": int((union > 0).sum()),
            "classes_never_hit": int(((hits == 0) & (union > 0)).sum()),
        },
        by_size={name: _of_size(counts, low, high) for name, (low, high) in SIZES.items()},
    )


def error_rates(counts: NDArray[np.number]) -> dict[str, NDArray[np.float64]]:
    """Rates of false positives and negatives by name, (..., K, 3) -> (..., K); NaN if undefined.

    Example:
        >>> {name: rate.tolist() for name, rate in error_rates(np.array([[4, 6, 6]])).items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'fp_rate': [0.25], 'fn_rate': [0.25],
         'over_activation': [0.5], 'under_activation': [0.5]}
    """
    hits, predicted, truth = np.moveaxis(counts.astype(np.float64), -1, 0)
    union = truth + predicted - hits
    return {
        "fp_rate": _ratio(predicted - hits, union),
        "fn_rate": _ratio(truth - hits, union),
        "over_activation": _ratio(predicted - hits, hits),
        "under_activation": _ratio(truth - hits, hits),
    }


def iou_of(counts: NDArray[np.number]) -> NDArray[np.float64]:
    """Intersection over union, (..., K, 3) -> (..., K); NaN where the union is empty."""
    ious: NDArray[np.float64] = iou_from_counts(torch.from_numpy(counts)).numpy()
    return ious


def mean_iou(counts: NDArray[np.number], absent: Absent) -> NDArray[np.float64]:
    """Mean over classes of pooled counts, (..., K, 3) -> (...).

    Example:
        >>> counts = np.array([[1, 1, 2], [0, 0, 0], [0, 1, 0]])
        >>> [round(float(mean_iou(counts, absent)), 3) for absent in ABSENT]
        [0.25, 0.5, 0.167, nan]
    """
    ious = iou_of(counts)
    hits, predicted, truth = np.moveaxis(counts.astype(np.float64), -1, 0)
    match absent:
        case "union":
            return _mean(ious)
        case "gt":
            return _mean(np.where(truth > 0, ious, np.nan))
        case "eps":
            return np.asarray(np.mean(hits / (truth + predicted - hits + 1e-10), axis=-1))
        case "nan":
            return np.asarray(np.mean(ious, axis=-1))


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotient; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis, ignoring NaN, in NumPy's summation order; NaN if all are NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of means over no values
        return np.asarray(np.nanmean(values, axis=-1))


def _of_size(counts: NDArray[np.integer], low: float, high: float) -> tuple[float, int]:
    """Mean IoU, and number, of the regions with an area in [low, high)."""
    regions = counts[:, 1:]
    chosen = (regions[..., 2] >= low) & (regions[..., 2] < high)
    pooled = np.where(chosen[..., None], regions, 0).sum(axis=0, dtype=np.int64)
    return float(_mean(iou_of(pooled))), int(chosen.sum())
