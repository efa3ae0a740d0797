"""Pixel counts per image and class, and the scores that are ratios of them.

Counts instead of scores are kept per image: their sum over any set of images (a data set, a
bootstrap resample) gives the pooled score of that set. The layout is always (..., K, 3); the last
axis is `[intersection, predicted pixels, ground-truth pixels]`.

References:
    Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010 (IoU, void pixels).
    Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from weakclip.labels import IGNORE
from weakclip.ops.shapes import dims

_CACHED_PIXELS = 1 << 18  # pixels counted together on a CPU, so that they fit into a core's cache


def class_counts(pred_mask: Tensor, gt_mask: Tensor, num_classes: int) -> Tensor:
    """Count pixels per image and class, dropping pixels whose ground truth is `IGNORE`.

    A predicted `IGNORE` is a miss of the ground-truth class and counts for no predicted class.

    Args:
        pred_mask: Predicted labels, (B, H, W), integers in [0, K) or `IGNORE`.
        gt_mask: Annotated labels, (B, H, W), integers in [0, K) or `IGNORE`.
        num_classes: K, background included.

    Returns:
        Counts, (B, K, 3), int64: intersection, predicted pixels, ground-truth pixels.

    Raises:
        ValueError: If the shapes differ or a label is neither a class nor `IGNORE`.
        TypeError: If the labels are not integers.

    Example:
        >>> gt = torch.tensor([[[0, 1], [1, 255]]])
        >>> pred = torch.tensor([[[0, 1], [0, 1]]])
        >>> class_counts(pred, gt, 2).tolist()
        [[[1, 2, 1], [1, 1, 2]]]
    """
    _check_shapes(pred_mask, gt_mask, num_classes)
    pieces = 1 + gt_mask.numel() // _CACHED_PIXELS if gt_mask.device.type == "cpu" else 1
    counts = []
    for pred, gt in zip(pred_mask.chunk(pieces), gt_mask.chunk(pieces), strict=True):
        pred, gt = _check_labels(pred, gt, num_classes)
        counts.append(_count(torch.where(gt != IGNORE, pred, IGNORE), gt, num_classes))
    return torch.cat(counts)


def confusion_matrix(pred_mask: Tensor, gt_mask: Tensor, num_classes: int) -> Tensor:
    """Count pixels by ground-truth and predicted class, over all images.

    Args:
        pred_mask: Predicted labels, (B, H, W), integers in [0, K) or `IGNORE`.
        gt_mask: Annotated labels, (B, H, W), integers in [0, K) or `IGNORE` (dropped).
        num_classes: K, background included.

    Returns:
        Pixels, (K, K + 1), int64: ground-truth class by predicted class; the last column is the
        pixels predicted as `IGNORE`.

    Raises:
        ValueError: If the shapes differ or a label is neither a class nor `IGNORE`.
        TypeError: If the labels are not integers.

    Example:
        >>> gt = torch.tensor([[[0, 1], [1, 255]]])
        >>> pred = torch.tensor([[[0, 1], [0, 1]]])
        >>> confusion_matrix(pred, gt, 2).tolist()
        [[1, 0, 0], [1, 1, 0]]
    """
    return joint_counts(pred_mask, gt_mask, num_classes).sum(dim=0)


def joint_counts(pred_mask: Tensor, gt_mask: Tensor, num_classes: int) -> Tensor:
    """Count pixels by ground-truth and predicted class, for each image.

    Args:
        pred_mask: Predicted labels, (B, H, W), integers in [0, K) or `IGNORE`.
        gt_mask: Annotated labels, (B, H, W), integers in [0, K) or `IGNORE` (dropped).
        num_classes: K, background included.

    Returns:
        Pixels, (B, K, K + 1), int64; their sum over the images is `confusion_matrix`.

    Raises:
        ValueError: If the shapes differ or a label is neither a class nor `IGNORE`.
    """
    _check_shapes(pred_mask, gt_mask, num_classes)
    pieces = 1 + gt_mask.numel() // _CACHED_PIXELS if gt_mask.device.type == "cpu" else 1
    counts = []
    for pred, gt in zip(pred_mask.chunk(pieces), gt_mask.chunk(pieces), strict=True):
        pred, gt = _check_labels(pred, gt, num_classes)
        counts.append(_joint_histogram(pred, gt, num_classes).mT[:, :num_classes])
    return torch.cat(counts)


def boundary_counts(pred_mask: Tensor, gt_mask: Tensor, num_classes: int, *, width: int) -> Tensor:
    """Count the pixels of each class that lie within `width` pixels of that class's contour.

    A pixel is in the boundary region of its class if another label, or the outside of the image, is
    at most `width` pixels away (Chebyshev distance), as in the authors' implementation.

    VOC's void band lies on the contours. To find the contours of the ground truth, void pixels up
    to `width` deep therefore get the nearest class (of equally near ones, the lowest label). The
    void pixels themselves are not counted. A void band narrower than `width` on each side leaves
    pixels to count.

    Args:
        pred_mask: Predicted labels, (B, H, W), integers in [0, K) or `IGNORE`.
        gt_mask: Annotated labels, (B, H, W), integers in [0, K) or `IGNORE`.
        num_classes: K, background included.
        width: Width of the boundary region in pixels; see `boundary_width`.

    Returns:
        Counts, (B, K, 3), int64, as for `class_counts`.

    Raises:
        ValueError: If the shapes differ, a label is unknown, or `width` is below 1.
        TypeError: If the labels are not integers.
    """
    pred_mask, gt_mask = check_masks(pred_mask, gt_mask, num_classes)
    if width < 1:
        raise ValueError(f"boundary width: expected at least 1 pixel, got {width}")
    gt_filled = fill_void(gt_mask, width)
    kept = gt_mask != IGNORE
    pred_kept = torch.where(kept & _near_contour(pred_mask, width), pred_mask, IGNORE)
    gt_kept = torch.where(kept & _near_contour(gt_filled, width), gt_mask, IGNORE)
    return _count(pred_kept, gt_kept, num_classes)


def boundary_width(height: int, width: int, fraction: float = 0.02) -> int:
    """Boundary width for an image size: a fraction of the diagonal, at least 1 pixel.

    Example:
        >>> boundary_width(375, 500), boundary_width(128, 128)
        (12, 4)
    """
    return max(1, round(fraction * math.hypot(height, width)))


def iou_from_counts(counts: Tensor) -> Tensor:
    """Intersection over union, (..., K, 3) -> (..., K) in [0, 1]; NaN where the union is empty.

    Example:
        >>> iou_from_counts(torch.tensor([[1, 2, 1], [0, 0, 0]])).tolist()
        [0.5, nan]
    """
    intersection, predicted, annotated = _split(counts)
    return intersection / (predicted + annotated - intersection)


def precision_from_counts(counts: Tensor) -> Tensor:
    """Precision: correct fraction of the predicted pixels, (..., K); NaN if never predicted."""
    intersection, predicted, _ = _split(counts)
    return intersection / predicted


def recall_from_counts(counts: Tensor) -> Tensor:
    """Recall: correct fraction of the annotated pixels, (..., K); NaN if never annotated."""
    intersection, _, annotated = _split(counts)
    return intersection / annotated


def miou(counts: Tensor) -> Tensor:
    """Mean of `iou_from_counts` over the classes with a non-empty union, (..., K, 3) -> (...).

    Sum the counts over images first; the mean of per-image scores is a different number.
    """
    return iou_from_counts(counts).nanmean(dim=-1)


def _check_shapes(pred_mask: Tensor, gt_mask: Tensor, num_classes: int) -> None:
    """Raise unless both masks have the same shape (B, H, W) and the number of classes is valid."""
    shape = dims(gt_mask, "B H W", name="gt_mask")
    if dims(pred_mask, "B H W", name="pred_mask") != shape:
        raise ValueError(
            f"pred_mask: expected the shape of gt_mask {shape}, got {tuple(pred_mask.shape)}"
        )
    if not 1 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes: expected 1 to {IGNORE}, got {num_classes}")


def check_masks(pred_mask: Tensor, gt_mask: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Both masks, (B, H, W), as uint8, after checks of shapes and labels.

    Raises:
        ValueError: If the shapes differ or a label is neither a class nor `IGNORE`.
        TypeError: If the labels are not integers.
    """
    _check_shapes(pred_mask, gt_mask, num_classes)
    return _check_labels(pred_mask, gt_mask, num_classes)


def _check_labels(pred_mask: Tensor, gt_mask: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Both masks as uint8, which makes later steps several times faster, after checks."""
    for name, labels in (("pred_mask", pred_mask), ("gt_mask", gt_mask)):
        if labels.is_floating_point() or labels.is_complex():
            raise TypeError(
                f"{name}: expected integer labels, got {labels.dtype}; take the argmax of "
                "scores first, so that no fraction or NaN is counted as a class"
            )
        wrong = (labels < 0) | ((labels >= num_classes) & (labels != IGNORE))
        if wrong.any():
            raise ValueError(
                f"{name}: expected labels 0 to {num_classes - 1} or {IGNORE}, "
                f"got {int(labels[wrong][0])}"
            )
    return pred_mask.to(torch.uint8), gt_mask.to(torch.uint8)


def _count(pred_mask: Tensor, gt_mask: Tensor, num_classes: int) -> Tensor:
    """Counts from one joint histogram per image, without the row and column of `IGNORE`."""
    histogram = _joint_histogram(pred_mask, gt_mask, num_classes)
    parts = (histogram.diagonal(dim1=1, dim2=2), histogram.sum(dim=2), histogram.sum(dim=1))
    return torch.stack(parts, dim=-1)[:, :num_classes]


def _joint_histogram(pred_mask: Tensor, gt_mask: Tensor, num_classes: int) -> Tensor:
    """Pixels by image, predicted and annotated label, (B, K + 1, K + 1); `IGNORE` is label K."""
    batch, side = len(gt_mask), num_classes + 1
    images = torch.arange(batch, device=gt_mask.device).view(batch, 1, 1)
    joint = pred_mask.clamp(max=num_classes).int() * side + gt_mask.clamp(max=num_classes)
    joint = (joint + images * side**2).flatten()
    return torch.bincount(joint, minlength=batch * side**2).view(batch, side, side)


def _near_contour(labels: Tensor, width: int) -> Tensor:
    """Whether another label or the outside of the image is within `width`, (B, H, W), bool.

    A window contains one label only if its largest and smallest labels are equal, so two filters
    on the label map replace an erosion per class.
    """
    near = window_max(labels, width) != IGNORE - window_max(IGNORE - labels, width)
    near[:, :width] = near[:, -width:] = True
    near[:, :, :width] = near[:, :, -width:] = True
    return near


def window_max(values: Tensor, width: int) -> Tensor:
    """Largest value within `width` pixels of each, (B, H, W), uint8, by doubling windows."""
    for axis in (1, 2):
        length = values.shape[axis]
        margin = (width, width) if axis == 2 else (0, 0, width, width)
        values, reach = functional.pad(values, margin), 1
        while reach < 2 * width + 1:
            step = min(reach, 2 * width + 1 - reach)
            size = values.shape[axis] - step
            values = torch.maximum(values.narrow(axis, 0, size), values.narrow(axis, step, size))
            reach += step
        assert values.shape[axis] == length
    return values


def fill_void(labels: Tensor, steps: int) -> Tensor:
    """Give `IGNORE` pixels of labels (B, H, W), uint8, the nearest class, up to `steps` deep."""
    for _ in range(steps):
        void = labels == IGNORE  # the largest label
        if not void.any():
            break
        labels = torch.where(void, IGNORE - window_max(IGNORE - labels, 1), labels)
    return labels


def _split(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if counts.ndim < 2 or counts.shape[-1] != 3:
        raise ValueError(f"counts: expected shape (..., K, 3), got {tuple(counts.shape)}")
    intersection, predicted, annotated = counts.double().unbind(dim=-1)
    return intersection, predicted, annotated
