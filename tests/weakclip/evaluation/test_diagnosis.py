"""What costs most equals correcting the masks and scoring them again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from weakclip.evaluation.causes import (
    CONTOUR,
    Cause,
    View,
    causes_of,
    contour_groups,
    views_of,
)
from weakclip.evaluation.comparison import compare, draws
from weakclip.evaluation.diagnosis import Cost, diagnose, measure
from weakclip.evaluation.scores import SIZES, error_rates, iou_of
from weakclip.ops.cells import contour_bands, count_cells
from weakclip.ops.confusion import class_counts, miou

NAMES = ("background", "cat", "dog", "bird")
K, WIDTHS = len(NAMES), (1, 3)


def masks(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ground truth and prediction of five images, (5, 40, 48), with void and undecided pixels."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, K, (5, 5, 6), generator=generator, dtype=torch.uint8)
    blocks[0], blocks[1] = blocks[0].clamp(max=1), 0
    gt = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    noise = torch.randint(0, K, gt.shape, generator=generator, dtype=torch.uint8)
    pred = torch.where(torch.rand(gt.shape, generator=generator) < 0.25, noise, gt.roll(1, 2))
    pred[torch.rand(gt.shape, generator=generator) < 0.03] = 255
    gt = torch.where(torch.rand(gt.shape, generator=generator) < 0.05, 255, gt)
    return gt, pred


def score(pred: torch.Tensor, gt: torch.Tensor) -> float:
    return float(miou(class_counts(pred, gt, K).sum(dim=0)))


def costs(gt: torch.Tensor, pred: torch.Tensor) -> dict[tuple[str, str], Cost]:
    cells = count_cells(pred, gt, contour_bands(gt, WIDTHS), K)
    found = diagnose(cells, NAMES, len(gt), widths=WIDTHS)
    return {(cost.view, cost.name): cost for cost in found}


def expected_places(gt: torch.Tensor, pred: torch.Tensor) -> dict[tuple[str, str], torch.Tensor]:
    """Where each error may be, from the masks alone, (N, H, W) bool."""
    objects, taken = (gt > 0) & (gt < 255), (pred > 0) & (pred < 255)
    bands = contour_bands(gt, WIDTHS)
    area = torch.zeros(gt.shape)
    for image in range(len(gt)):
        for label in range(K):
            inside = gt[image] == label
            area[image][inside] = float(inside.sum())
    number = torch.tensor([len({*image.unique().tolist()} - {0, 255}) for image in gt])
    shown = number[:, None, None].expand(gt.shape)
    small, medium = (low for low, _ in list(SIZES.values())[1:])
    places = {
        ("kind", "background taken for an object"): (gt == 0) & taken,
        ("kind", "object taken for background"): objects & (pred == 0),
        ("kind", "object taken for another class"): objects & taken,
        ("kind", "undecided"): pred == 255,
        ("class", "background taken for dog"): (gt == 0) & (pred == 2),
        ("class", "dog taken for background"): (gt == 2) & (pred == 0),
        ("pair", "cat and bird confused"): (((gt == 1) & (pred == 3)) | ((gt == 3) & (pred == 1))),
        ("contour", "up to 1 px from a contour"): bands == 0,
        ("contour", "up to 3 px from a contour"): bands <= 1,
        ("contour", "interior, beyond 3 px"): bands == 2,
        ("size", "small objects"): objects & (area < small),
        ("size", "medium objects"): objects & (area >= small) & (area < medium),
        ("classes", "images of no class"): shown == 0,
        ("classes", "images of 1 class"): shown == 1,
        ("classes", "images of 3 or more classes"): shown >= 3,
    }
    return {name: place & (gt != 255) for name, place in places.items()}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gain_is_that_of_the_corrected_mask(seed: int) -> None:
    gt, pred = masks(seed)
    found, base = costs(gt, pred), score(pred, gt)
    wrong = (pred != gt) & (gt != 255)
    for name, place in expected_places(gt, pred).items():
        corrected = torch.where(place, gt, pred)
        assert found[name].gain == pytest.approx(score(corrected, gt) - base, abs=1e-12), name
        share = float((wrong & place).sum() / wrong.sum())
        assert found[name].errors == pytest.approx(share, abs=1e-6), name


def test_kinds_bands_sizes_and_classes_each_divide_all_wrong_pixels() -> None:
    gt, pred = masks()
    found = costs(gt, pred)
    kinds = [cost for (view, _), cost in found.items() if view == "kind"]
    assert sum(cost.errors for cost in kinds) == pytest.approx(1)
    bands = {name: cost for (view, name), cost in found.items() if view == "contour"}
    ends = ("up to 3 px from a contour", "interior, beyond 3 px")
    for share in ("errors", "pixels"):
        assert sum(getattr(bands[name], share) for name in ends) == pytest.approx(1)
        shown = [getattr(cost, share) for (view, _), cost in found.items() if view == "classes"]
        assert sum(shown) == pytest.approx(1)


def test_the_share_of_right_pixels_of_a_group_is_its_accuracy() -> None:
    gt, pred = masks()
    found = costs(gt, pred)
    for name, place in expected_places(gt, pred).items():
        if name[0] in ("contour", "size", "classes") and place.any():
            right = float((pred == gt)[place].double().mean())
            assert found[name].right == pytest.approx(right), name


def test_a_perfect_mask_costs_nothing() -> None:
    gt, _ = masks()
    found = costs(gt, torch.where(gt == 255, 0, gt))
    assert all(cost.gain == cost.low == cost.high == 0 for cost in found.values())
    assert all(cost.right == 1 for (view, _), cost in found.items() if view == "contour")


def test_correcting_more_never_gains_less_and_everything_gains_all() -> None:
    gt, pred = masks()
    view = View(
        CONTOUR, contour_groups(WIDTHS), count_cells(pred, gt, contour_bands(gt, WIDTHS), K)
    )
    growing = [
        Cause("x", "one", (0,), (1,), (0,)),
        Cause("x", "two", (0,), (1,)),
        Cause("x", "three", (0, 1), (1, 2)),
        Cause("x", "four", (), (1, 2, 3)),
        Cause("x", "all"),
    ]
    found = measure(view, growing, (np.ones((1, 5), dtype=np.int64), *draws(5, 50)), K)
    for less, more in pairwise(found):
        assert (more.gain >= less.gain - 1e-12).all()
    assert score(pred, gt) + found[-1].gain[0] == pytest.approx(1)


def test_an_interval_is_that_of_a_comparison_with_the_corrected_masks() -> None:
    gt, pred = masks()
    all_found = costs(gt, pred)
    for name, place in expected_places(gt, pred).items():
        counts = [
            class_counts(each, gt, K).numpy() for each in (torch.where(place, gt, pred), pred)
        ]
        expected = compare(*counts)
        found = all_found[name]
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high)), name


def test_iou_and_both_rates_add_up_to_one_and_m_fp_is_precision_turned_over() -> None:
    gt, pred = masks()
    counts = class_counts(pred, gt, K).sum(dim=0).numpy()
    rates = error_rates(counts)
    assert iou_of(counts) + rates["fp_rate"] + rates["fn_rate"] == pytest.approx(np.ones(K))
    hits, predicted, annotated = counts.T
    assert rates["over_activation"] == pytest.approx(predicted / hits - 1)
    assert rates["under_activation"] == pytest.approx(annotated / hits - 1)


def test_pairs_are_chosen_by_their_pixels() -> None:
    cells = np.array([[0, 0, 1, 2, 5], [0, 0, 2, 1, 4], [0, 0, 1, 3, 8], [0, 0, 3, 3, 50]])
    view = views_of(View(CONTOUR, ("anywhere",), cells))[0]
    pairs = [cause.name for cause in causes_of(view, NAMES) if cause.view == "pair"]
    assert pairs == ["cat and dog confused", "cat and bird confused"]
    assert not [cause for cause in causes_of(view, NAMES) if cause.view == CONTOUR]
