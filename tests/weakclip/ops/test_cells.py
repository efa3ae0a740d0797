"""Cells count what a loop over pixels counts; bands are distances to contours."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from weakclip.ops.cells import IMAGE, PIXELS, PREDICTED, TRUTH, contour_bands, count_cells
from weakclip.ops.confusion import joint_counts

CLASSES = 4


def random_labels(seed: int, *, void: float) -> torch.Tensor:
    """Three label maps of blocks with void pixels, (3, 13, 17) uint8."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, CLASSES, (3, 4, 5), generator=generator, dtype=torch.uint8)
    labels = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :13, :17]
    return torch.where(torch.rand(labels.shape, generator=generator) < void, 255, labels)


def test_cells_are_those_of_a_loop_over_pixels() -> None:
    gt, pred = random_labels(0, void=0.1), random_labels(1, void=0.05)
    groups = torch.randint(0, 3, gt.shape, generator=torch.Generator().manual_seed(2))
    cells = count_cells(pred, gt, groups, CLASSES)
    expected: Counter[tuple[int, ...]] = Counter()
    for image, row, column in np.ndindex(*gt.shape):
        place = (image, row, column)
        if gt[place] != 255:
            predicted = min(int(pred[place]), CLASSES)
            expected[(image, int(groups[place]), int(gt[place]), predicted)] += 1
    assert {tuple(cell[:PIXELS]): cell[PIXELS] for cell in cells.tolist()} == expected
    assert cells.tolist() == sorted(cells.tolist())
    for kind in (torch.uint8, torch.int32):
        given = groups.to(kind)
        assert (count_cells(pred, gt, given, CLASSES) == cells).all()
        assert (given == groups).all()


def test_cells_summed_over_groups_are_the_confusion_matrix_of_each_image() -> None:
    gt, pred = random_labels(3, void=0.1), random_labels(4, void=0.1)
    cells = count_cells(pred, gt, contour_bands(gt, (1, 2)), CLASSES)
    table = np.zeros((3, CLASSES, CLASSES + 1), dtype=np.int64)
    np.add.at(table, tuple(cells[:, [IMAGE, TRUTH, PREDICTED]].T), cells[:, PIXELS])
    assert (table == joint_counts(pred, gt, CLASSES).numpy()).all()
    assert cells[:, PIXELS].sum() == (gt != 255).sum()


def test_a_band_holds_the_pixels_with_another_class_within_its_width() -> None:
    gt = random_labels(5, void=0.0)
    widths = (1, 2, 4)
    bands = contour_bands(gt, widths)
    for image, row, column in np.ndindex(*gt.shape):
        expected = len(widths)
        for place in reversed(range(len(widths))):
            width = widths[place]
            window = gt[
                image,
                max(0, row - width) : row + width + 1,
                max(0, column - width) : column + width + 1,
            ]
            if (window != gt[image, row, column]).any():
                expected = place
        assert bands[image, row, column] == expected


def test_the_border_of_the_image_and_void_are_no_contours() -> None:
    gt = torch.zeros(1, 9, 9, dtype=torch.uint8)
    assert (contour_bands(gt, (1, 3)) == 2).all()
    gt[0, 4, 4] = 255
    assert (contour_bands(gt, (1, 3)) == 2).all()


def test_wrong_use_says_what_was_expected() -> None:
    gt = random_labels(0, void=0.0)
    with pytest.raises(ValueError, match="widths: expected ascending"):
        contour_bands(gt, (3, 1))
    with pytest.raises(ValueError, match="groups: expected numbers from 0"):
        count_cells(gt, gt, torch.zeros(1, 2, 2, dtype=torch.int64), CLASSES)
