from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from weakclip.labels import IGNORE
from weakclip.retraining.losses import mask_loss

if TYPE_CHECKING:
    from weakclip.retraining.recipe import LossName

NAMES: tuple[LossName, ...] = ("cross-entropy", "balanced")
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 4, 5, 6, generator=GENERATOR)
MASKS = torch.randint(0, 4, (2, 5, 6), generator=GENERATOR)
MASKS[0, :2] = IGNORE


def by_hand(masks: torch.Tensor) -> tuple[list[float], list[float]]:
    """Cross-entropies of background pixels and of all others, pixel by pixel."""
    sides: tuple[list[float], list[float]] = ([], [])
    for image, row, column in torch.cartesian_prod(*map(torch.arange, masks.shape)).tolist():
        label = int(masks[image, row, column])
        if label != IGNORE:
            scores = LOGITS[image, :, row, column].double()
            value = float(scores.exp().sum().log() - scores[label])
            sides[label > 0].append(value)
    return sides


def test_cross_entropy_is_the_mean_over_decided_pixels() -> None:
    background, others = by_hand(MASKS)
    expected = sum(background + others) / len(background + others)
    assert float(mask_loss(LOGITS, MASKS, "cross-entropy")) == pytest.approx(expected, rel=1e-5)


def test_the_balanced_loss_is_the_mean_of_two_means() -> None:
    background, others = by_hand(MASKS)
    expected = (sum(background) / len(background) + sum(others) / len(others)) / 2
    assert float(mask_loss(LOGITS, MASKS, "balanced")) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_undecided_pixels_change_nothing(name: LossName) -> None:
    first, other = LOGITS.clone(), LOGITS.clone()
    other[0, :, :2] = 100 * torch.randn(4, 2, 6, generator=GENERATOR)
    losses = []
    for logits in (first, other):
        logits.requires_grad_()
        losses.append(mask_loss(logits, MASKS, name))
        losses[-1].backward()  # type: ignore[no-untyped-call]
    assert float(losses[0].detach()) == float(losses[1].detach())
    assert first.grad is not None
    assert other.grad is not None
    assert not other.grad[0, :, :2].any()
    assert torch.equal(first.grad, other.grad)


def test_a_side_without_pixels_adds_nothing() -> None:
    only = torch.zeros_like(MASKS)
    both = [float(mask_loss(LOGITS, only, name)) for name in NAMES]
    assert both[1] == pytest.approx(both[0] / 2)
    empty = torch.full_like(MASKS, IGNORE)
    assert float(mask_loss(LOGITS, empty, "balanced")) == 0
