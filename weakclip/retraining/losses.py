"""Losses of a segmentation network on masks with undecided pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.retraining.recipe import LossName


def mask_loss(logits: Tensor, masks: Tensor, name: LossName) -> Tensor:
    """Loss of a batch; pixels of label 255 are ignored.

    Args:
        logits: (B, K, H, W), background first.
        masks: (B, H, W), int64, 0 to K - 1 or 255.
        name: See `RetrainingRecipe`.

    Returns:
        Scalar, with gradients; 0 if no pixel is decided. `balanced` is half the mean over the
        background pixels plus half the mean over the foreground pixels; a mean over no pixels is 0,
        where some releases divide by zero.

    References:
        Xie et al., CLIMS, CVPR 2022 (balanced cross-entropy of its retraining).
    """
    pixels = F.cross_entropy(logits.float(), masks, ignore_index=IGNORE, reduction="none")
    decided = masks != IGNORE
    if name == "cross-entropy":
        return _mean(pixels, decided)
    background = masks == BACKGROUND
    return (_mean(pixels, background) + _mean(pixels, decided & ~background)) / 2


def _mean(pixels: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen pixels; 0 if there are none."""
    return (pixels * chosen).sum() / chosen.sum().clamp(min=1)
