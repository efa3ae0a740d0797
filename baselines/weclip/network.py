"""The decoder of WeCLIP, which is all that is trained, and its two losses.

The decoder fuses the patch tokens of the frozen blocks into one feature map. A small transformer
computes the logits of every patch from it. Its products give an affinity of patches, which is used
to refine the pseudo labels (`baselines/weclip/labels.py`).

References:
    Zhang et al., "Frozen CLIP: A Strong Backbone for Weakly Supervised Semantic Segmentation"
    (WeCLIP), CVPR 2024.
    Ru et al., "Learning Affinity from Attention" (AFA), CVPR 2022 (both losses).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.labels import BACKGROUND, IGNORE
from weakclip.ops.shapes import dims
from weakclip.training.losses import seeds_on_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSize:
    """Sizes of the decoder. The defaults are the release's for a ViT-B."""

    channels: int = 256
    blocks: int = 3
    heads: int = 8
    dropout: float = 0.1
    """Probability that a channel of the feature map is dropped for an image in training."""

    def __post_init__(self) -> None:
        if self.channels % self.heads:
            raise ValueError(
                f"channels: expected a multiple of the {self.heads} heads, got {self.channels}"
            )


class Decoder(nn.Module):
    """From tokens of frozen blocks to a feature map, and from this to logits."""

    def __init__(self, size: DecoderSize, *, width: int, inputs: int, labels: int) -> None:
        """Initialise with PyTorch's defaults.

        Args:
            size: Sizes.
            width: Channels D of the tokens.
            inputs: Number of blocks whose tokens are fused.
            labels: Number K of classes, background included.
        """
        super().__init__()
        channels = size.channels
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(width, channels), nn.ReLU(), nn.Linear(channels, channels))
            for _ in range(inputs)
        )
        self.fuse = nn.Conv2d(inputs * channels, channels, 1)
        self.dropout = nn.Dropout2d(size.dropout)
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    channels, size.heads, 4 * channels, dropout=0, activation=_quick_gelu,
                    batch_first=True, norm_first=True,
                )
                for _ in range(size.blocks)
            )
        )  # fmt: skip
        self.classifier = nn.Conv2d(channels, labels, 1)

    def field(self, tokens: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Feature map, (B, C, h, w), of the tokens of blocks, (B, 1 + hw, D) each."""
        parts = [
            projection(each[:, 1:])
            for projection, each in zip(self.projections, tokens, strict=True)
        ]
        joined = torch.unflatten(torch.cat(parts, dim=2).transpose(1, 2), 2, grid)
        fused: Tensor = self.dropout(self.fuse(joined))
        return fused

    def logits(self, field: Tensor) -> Tensor:
        """Logits of the patches, (B, K, h, w), from the feature map, (B, C, h, w)."""
        tokens = self.blocks(field.flatten(2).transpose(1, 2))
        logits: Tensor = self.classifier(
            torch.unflatten(tokens.transpose(1, 2), 2, field.shape[2:])
        )
        return logits


def field_affinity(field: Tensor) -> Tensor:
    """Affinity of patches: sigmoid of the inner product of their features.

    Args:
        field: (B, C, h, w).

    Returns:
        (B, hw, hw), in (0, 1), symmetric, at least 1/2 on the diagonal; differentiable.
    """
    flat = field.flatten(2)
    return (flat.transpose(1, 2) @ flat).sigmoid()


@torch.no_grad()
def averaged_logits(
    logits: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    long_side: int | None,
    scales: Sequence[float],
    least: int,
) -> Tensor:
    """Logits of images averaged over several sizes and over mirror images.

    Args:
        logits: Function from normalised images (B, 3, H, W) to logits (B, K, h, w).
        images: Normalised images, (B, 3, H, W).
        long_side: Long side to which images are resized first; None keeps their size.
        scales: Sizes relative to that.
        least: Smallest side in pixels that `logits` accepts.

    Returns:
        (B, K, h, w), on the grid of the first scale.
    """
    sides = images.shape[2:]
    longest = max(sides)
    size = [max(least, side * (long_side or longest) // longest) for side in sides]
    base = F.interpolate(images, size, mode="bilinear", align_corners=False)
    views: list[Tensor] = []
    for scale in scales:
        scaled = [max(least, int(side * scale)) for side in size]
        view = F.interpolate(base, scaled, mode="bilinear", align_corners=False)
        both = (logits(view) + logits(view.flip(-1)).flip(-1)) / 2
        grid = (views or [both])[0].shape[2:]
        views.append(F.interpolate(both, grid, mode="bilinear", align_corners=False))
    return torch.stack(views).mean(dim=0)


def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy: average of its means over background and over foreground pixels of the batch.

    Args:
        logits: (B, K, h, w); resized bilinearly to the labels.
        labels: (B, H, W), int64, 255 = ignored.

    Returns:
        A scalar. A mean without pixels is 0, while it is NaN in the release.
    """
    size = dims(labels, "B H W", name="labels")[1:]
    resized = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    losses = F.cross_entropy(resized, labels, ignore_index=IGNORE, reduction="none")
    background = labels == BACKGROUND
    halves = (background, ~background & (labels != IGNORE))
    means = [(losses * half).sum() / half.sum().clamp(min=1) for half in halves]
    return (means[0] + means[1]) / 2


def pair_labels(labels: Tensor, grid: tuple[int, int], radius: int) -> tuple[Tensor, Tensor]:
    """Pairs of nearby patches with the same label, and with different labels.

    Args:
        labels: (B, H, W), int64, 255 = ignored; a patch has the label of its first pixel.
        grid: Patch rows and columns (h, w).
        radius: Largest distance of a pair along each axis, in patches.

    Returns:
        Same and different, (B, hw, hw) each, bool. Background counts as a label, and each patch is
        paired with itself.
    """
    flat = seeds_on_grid(labels, grid).flatten(1)
    rows, columns = (torch.arange(side, device=labels.device) for side in grid)
    places = torch.cartesian_prod(rows, columns)
    near = (places[:, None] - places).abs().amax(dim=2) <= radius
    sure = flat != IGNORE
    used = near & sure[:, :, None] & sure[:, None]
    alike = flat[:, :, None] == flat[:, None]
    return used & alike, used & ~alike


def affinity_loss(affinity: Tensor, alike: Tensor, different: Tensor) -> Tensor:
    """Affinity loss of AFA, linear in the affinity: 1 - a for pairs with one label, a for others.

    Args:
        affinity: Affinity a, (B, hw, hw), in [0, 1].
        alike: Pairs with the same label, (B, hw, hw), bool.
        different: Pairs with different labels, (B, hw, hw), bool.

    Returns:
        A scalar in [0, 1): the average of the means over both kinds of pairs in the batch.
    """
    apart = ((1 - affinity) * alike).sum() / (alike.sum() + 1)
    close = (affinity * different).sum() / (different.sum() + 1)
    return (apart + close) / 2


def _quick_gelu(values: Tensor) -> Tensor:
    return values * torch.sigmoid(1.702 * values)
