"""The scores of one run from its counts: pooled over the images, per class and averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.ops.confusion import iou_from_counts, precision_from_counts, recall_from_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.runs.record import Scores


def score(
    counts: NDArray[np.integer], boundary: NDArray[np.integer] | None, class_names: Sequence[str]
) -> tuple[Scores, dict[str, Scores]]:
    """Return the scores of a task, and those of each class, as fractions.

    Args:
        counts: Pixel counts, (N, K, 3); see `weakclip.ops.confusion`.
        boundary: Counts of pixels near contours, (N, K, 3), if the task has them.
        class_names: K names, background first.

    Raises:
        ValueError: If a shape is not (N, K, 3).
    """
    ratios = {"iou": iou_from_counts, "precision": precision_from_counts}
    ratios["recall"] = recall_from_counts
    pooled = _pool(counts, class_names)
    by_class = {name: ratio(pooled) for name, ratio in ratios.items()}
    if boundary is not None:
        by_class["boundary_iou"] = iou_from_counts(_pool(boundary, class_names))
    means = {_mean_name(name): float(values.nanmean()) for name, values in by_class.items()}
    means["pixel_accuracy"] = float(pooled[:, 0].sum() / pooled[:, 2].sum())
    means["num_classes_scored"] = float((~by_class["iou"].isnan()).sum())
    per_class = {
        name: {metric: float(values[index]) for metric, values in by_class.items()}
        for index, name in enumerate(class_names)
    }
    return means, per_class


def _mean_name(metric: str) -> str:
    return {"iou": "miou", "boundary_iou": "boundary_miou"}.get(metric, f"mean_{metric}")


def _pool(counts: NDArray[np.integer], class_names: Sequence[str]) -> torch.Tensor:
    if counts.ndim != 3 or counts.shape[1:] != (len(class_names), 3):
        raise ValueError(
            f"counts: expected shape (N, {len(class_names)}, 3), got {tuple(counts.shape)}"
        )
    return torch.from_numpy(counts.sum(axis=0, dtype=np.int64))
