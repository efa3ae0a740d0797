"""Counts of pixels by image, group of pixels, annotated and predicted class.

A group is any property of a pixel, e.g. its distance to a contour or the label of its seed. Only
cells with pixels are stored, as rows of five numbers, so the table of a whole data set is small;
summed over the groups it is the confusion matrix of each image.

References:
    Kohli, Ladicky and Torr, "Robust Higher Order Potentials for Enforcing Label Consistency", IJCV
    2009 (the trimap: accuracy in a band around the contours of the ground truth).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.labels import IGNORE
from weakclip.ops.confusion import check_masks, fill_void, window_max

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

IMAGE, GROUP, TRUTH, PREDICTED, PIXELS = range(5)
"""Columns of a table of cells. A predicted class K (the number of classes) means undecided."""


def count_cells(
    pred_mask: Tensor, gt_mask: Tensor, groups: Tensor, num_classes: int
) -> NDArray[np.int32]:
    """Count pixels by image, group, annotated and predicted class; void pixels are dropped.

    Args:
        pred_mask: Predicted labels, (B, H, W), integers in [0, K) or `IGNORE`.
        gt_mask: Annotated labels, (B, H, W), integers in [0, K) or `IGNORE`.
        groups: Group of each pixel, (B, H, W), integers from 0.
        num_classes: K, background included.

    Returns:
        (M, 5), sorted: image in the batch, group, annotated class, predicted class (K: undecided)
        and number of pixels, for the M cells that have pixels.

    Raises:
        ValueError: If the shapes differ or a label is neither a class nor `IGNORE`.
        TypeError: If the labels are not integers.

    Example:
        >>> gt = torch.tensor([[[0, 1], [1, 255]]])
        >>> pred = torch.tensor([[[0, 0], [255, 0]]])
        >>> count_cells(pred, gt, torch.tensor([[[0, 0], [7, 7]]]), 2).tolist()
        [[0, 0, 0, 0, 1], [0, 0, 1, 0, 1], [0, 7, 1, 2, 1]]
    """
    pred, gt = check_masks(pred_mask, gt_mask, num_classes)
    if groups.shape != gt.shape or int(groups.min()) < 0:
        raise ValueError(
            f"groups: expected numbers from 0 in the shape of gt_mask {tuple(gt.shape)}, "
            f"got {tuple(groups.shape)} from {int(groups.min())}"
        )
    side = num_classes + 1  # void and undecided pixels count as the last class
    sizes = (len(gt), int(groups.max()) + 1, side, side)
    cells = int(np.prod(sizes))
    kind = torch.int32 if cells < 2**31 else torch.int64  # int32 takes half the memory and time
    images = torch.arange(len(gt), dtype=kind, device=gt.device).view(-1, 1, 1)
    place = images * sizes[1] + groups.to(kind)
    place.mul_(side).add_(gt.clamp(max=num_classes))
    place.mul_(side).add_(pred.clamp(max=num_classes))
    pixels = torch.bincount(place.flatten(), minlength=cells).cpu().numpy().reshape(sizes)
    filled = pixels[:, :, :num_classes].nonzero()
    return np.stack([*filled, pixels[filled]], axis=1).astype(np.int32)


def contour_bands(gt_mask: Tensor, widths: Sequence[int]) -> Tensor:
    """The band around the contours of the ground truth in which each pixel lies.

    A pixel is within a width of a contour if another class is at most that many pixels away
    (Chebyshev distance). The image border is not a contour. VOC's void pixels lie on the contours;
    as for `boundary_counts`, those up to the largest width deep first get the nearest class.

    Args:
        gt_mask: Annotated labels, (B, H, W), uint8 with `IGNORE`.
        widths: Widths of the bands in pixels, ascending, e.g. (3, 5, 9).

    Returns:
        (B, H, W), int64: index in `widths` of the smallest width that reaches the pixel, or
        `len(widths)` if none does.

    Raises:
        ValueError: If the widths are not ascending or are below 1.

    Example:
        >>> gt = torch.tensor([[[0, 0, 0, 0, 1, 1]]], dtype=torch.uint8)
        >>> contour_bands(gt, (1, 3)).tolist()
        [[[2, 1, 1, 0, 0, 1]]]
    """
    if not widths or list(widths) != sorted(set(widths)) or widths[0] < 1:
        raise ValueError(f"widths: expected ascending numbers from 1, got {tuple(widths)}")
    filled = fill_void(gt_mask, widths[-1])
    bands = torch.full(gt_mask.shape, len(widths), dtype=torch.int64)
    for place in reversed(range(len(widths))):
        width = widths[place]
        near = window_max(filled, width) != IGNORE - window_max(IGNORE - filled, width)
        bands[near] = place
    return bands
