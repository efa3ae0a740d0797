from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weakclip.labels import IGNORE
from weakclip.ops.confusion import (
    boundary_counts,
    boundary_width,
    class_counts,
    confusion_matrix,
    iou_from_counts,
    miou,
    precision_from_counts,
    recall_from_counts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.int64]


def numpy_counts(pred: Labels, gt: Labels, classes: int) -> NDArray[np.int64]:
    """Pixel by pixel, as the definition reads."""
    counts = np.zeros((len(gt), classes, 3), np.int64)
    for image, p, g in zip(
        np.repeat(np.arange(len(gt)), gt[0].size), pred.flat, gt.flat, strict=True
    ):
        if g == IGNORE:
            continue
        counts[image, g, 2] += 1
        if p != IGNORE:
            counts[image, p, 1] += 1
        if p == g:
            counts[image, g, 0] += 1
    return counts


def numpy_boundary(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Mask minus its erosion, 3 x 3 repeated `width` times, the outside being no mask."""
    inner = np.pad(mask, 1)
    for _ in range(width):
        shifted = [
            np.pad(inner, 1)[1 + y : 1 + y + inner.shape[0], 1 + x : 1 + x + inner.shape[1]]
            for y in (-1, 0, 1)
            for x in (-1, 0, 1)
        ]
        inner = np.logical_and.reduce(shifted)
    return mask & ~inner[1:-1, 1:-1]


def random_labels(seed: int, *, void: bool) -> torch.Tensor:
    """Blobs of four classes, 3 images of 17 x 23 pixels."""
    coarse = torch.randint(0, 4, (3, 5, 6), generator=torch.Generator().manual_seed(seed))
    labels = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :17, :23].clone()
    if void:
        labels[:, 4:6] = IGNORE
    return labels


def test_counts_of_a_two_by_two_image_by_hand() -> None:
    gt = torch.tensor([[[0, 0], [1, IGNORE]]])
    pred = torch.tensor([[[0, 1], [IGNORE, 1]]])
    counts = class_counts(pred, gt, 3)
    assert counts.tolist() == [[[1, 1, 2], [0, 1, 1], [0, 0, 0]]]
    assert counts.dtype == torch.int64
    assert iou_from_counts(counts)[0, :2].tolist() == [0.5, 0.0]
    assert precision_from_counts(counts)[0, :2].tolist() == [1.0, 0.0]
    assert recall_from_counts(counts)[0, :2].tolist() == [0.5, 0.0]
    assert iou_from_counts(counts)[0, 2].isnan()
    assert miou(counts).item() == 0.25


def test_scores_are_pooled_and_not_averaged_over_images() -> None:
    counts = torch.tensor([[[1, 1, 1]], [[0, 9, 0]]])
    assert miou(counts.sum(0)).item() == pytest.approx(0.1)
    assert miou(counts).mean().item() == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_counts_agree_with_an_independent_version(seed: int) -> None:
    gt, pred = random_labels(seed, void=True), random_labels(seed + 10, void=False)
    pred[0, :3, :3] = IGNORE
    expected = numpy_counts(pred.numpy(), gt.numpy(), 4)
    assert class_counts(pred, gt, 4).tolist() == expected.tolist()


@pytest.mark.parametrize("width", [1, 2, 5])
def test_boundary_counts_without_void_agree_with_eroded_masks(width: int) -> None:
    gt, pred = random_labels(1, void=False), random_labels(2, void=False)
    counts = boundary_counts(pred, gt, 4, width=width)
    for image in range(3):
        for label in range(4):
            near_gt = numpy_boundary((gt[image] == label).numpy(), width)
            near_pred = numpy_boundary((pred[image] == label).numpy(), width)
            expected = [(near_gt & near_pred).sum(), near_pred.sum(), near_gt.sum()]
            assert counts[image, label].tolist() == expected


@pytest.mark.parametrize("band", [1, 2])
def test_a_void_band_on_the_contour_leaves_a_boundary_to_measure(band: int) -> None:
    truth = torch.zeros(1, 40, 40, dtype=torch.long)
    truth[:, 10:30, 10:30] = 1
    gt = truth.clone()
    gt[:, 10 - band : 30 + band, 10 - band : 30 + band] = IGNORE
    gt[:, 10 + band : 30 - band, 10 + band : 30 - band] = 1
    perfect = boundary_counts(truth, gt, 2, width=4)
    assert iou_from_counts(perfect).tolist() == [[1.0, 1.0]]
    assert perfect[0, 1, 2] == (20 - 2 * band) ** 2 - 12**2
    shifted = boundary_counts(truth.roll(3, 2), gt, 2, width=4)
    assert iou_from_counts(shifted)[0, 1] < 0.7


def test_boundary_iou_punishes_a_coarse_contour_more_than_iou() -> None:
    gt = torch.zeros(1, 64, 64, dtype=torch.long)
    gt[:, 12:52, 12:52] = 1
    pred = gt.roll(2, 1)
    coarse = boundary_counts(pred, gt, 2, width=2)
    assert iou_from_counts(coarse)[0, 1] < iou_from_counts(class_counts(pred, gt, 2))[0, 1] - 0.3


def test_void_deep_inside_an_object_makes_no_contour() -> None:
    gt = torch.ones(1, 30, 30, dtype=torch.long)
    gt[:, 12:18, 12:18] = IGNORE
    pred = torch.ones_like(gt)
    counts = boundary_counts(pred, gt, 2, width=2)
    assert counts[0, 1].tolist() == [30**2 - 26**2] * 3


@pytest.mark.parametrize(
    ("pred", "gt", "message"),
    [
        (torch.zeros(1, 2, 3), torch.zeros(1, 2, 2), "expected the shape of gt_mask"),
        (torch.zeros(2, 2), torch.zeros(2, 2), "gt_mask: expected shape"),
        (
            torch.full((1, 2, 2), 4),
            torch.zeros(1, 2, 2),
            "pred_mask: expected labels 0 to 3 or 255",
        ),
        (torch.zeros(1, 2, 2), torch.full((1, 2, 2), -1), "gt_mask: expected labels 0 to 3"),
    ],
)
def test_wrong_masks_are_refused(pred: torch.Tensor, gt: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_counts(pred.long(), gt.long(), 4)


@pytest.mark.parametrize("value", [float("nan"), 0.7, 1.0])
def test_fractions_and_nan_are_counted_as_no_class(value: float) -> None:
    whole, floats = torch.zeros(1, 2, 2, dtype=torch.long), torch.full((1, 2, 2), value)
    for pred, gt, name in ((floats, whole, "pred_mask"), (whole, floats, "gt_mask")):
        for count in (class_counts, confusion_matrix, partial(boundary_counts, width=1)):
            with pytest.raises(TypeError, match=f"{name}: expected integer labels, got"):
                count(pred, gt, 2)


def test_a_boundary_needs_a_width() -> None:
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        boundary_counts(labels, labels, 2, width=0)
    assert boundary_width(10, 10) == 1


def test_counts_of_another_layout_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected shape \(\.\.\., K, 3\)"):
        miou(torch.zeros(4, 2))


def test_counting_is_fast_enough() -> None:
    gt = torch.randint(0, 21, (64, 128, 128), generator=torch.Generator().manual_seed(0))
    class_counts(gt, gt, 21)
    start = time.process_time()
    class_counts(gt.flip(1), gt, 21)
    assert 64 / (time.process_time() - start) > 300
