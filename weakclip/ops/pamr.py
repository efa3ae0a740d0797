"""Pixel-adaptive mask refinement (PAMR): scores diffuse between pixels of similar colour.

A cheap stand-in for a dense CRF: a few rounds of averaging with 8 neighbours at several distances,
with weights that the image alone decides. Batched over images and classes, on torch alone.

References:
    Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, section
    3.3; released code: visinf/1-stage-wseg.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

DILATIONS = (1, 2, 4, 8, 12, 24)
"""Distances in pixels at which the release looks at the 8 neighbours."""

_SHARPNESS = 0.1  # share of the local standard deviation that divides a colour difference
_EPS = 1e-8
_RING = tuple(step for step in product((-1, 0, 1), repeat=2) if step != (0, 0))


@torch.no_grad()
def pamr(
    images: Tensor, scores: Tensor, *, iterations: int = 10, dilations: Sequence[int] = DILATIONS
) -> Tensor:
    """Average every score map along the image, again and again.

    The weights of a pixel's neighbours (8 per dilation, borders replicated, the pixel itself left
    out) are a softmax over minus their colour difference, measured in tenths of the local standard
    deviation. They sum to 1: the sum over labels is preserved and values stay in their range.

    Args:
        images: (B, 3, H, W), any type and range; an affine change of the intensities of a
            channel changes nothing.
        scores: (B, L, H, W), any range.
        iterations: Rounds of averaging, 0 or more.
        dilations: Distances of the neighbours in pixels.

    Returns:
        (B, L, H, W), float32, in the range of `scores`. No gradient flows.

    Raises:
        ValueError: If sizes differ, or there is no dilation or one below 1, or `iterations` is
            negative.

    Example:
        >>> images = torch.zeros(1, 3, 2, 2)
        >>> pamr(images, torch.eye(2).view(1, 1, 2, 2), iterations=1, dilations=(1,)).shape
        torch.Size([1, 1, 2, 2])
    """
    batch, _, height, width = dims(images, "B 3 H W", name="images")
    count, _, rows, columns = dims(scores, "B L H W", name="scores")
    if (batch, height, width) != (count, rows, columns):
        raise ValueError(
            f"scores: expected {batch} maps of {height} x {width} as the images, "
            f"got {count} of {rows} x {columns}; resize one of them first"
        )
    if iterations < 0 or not dilations or min(dilations) < 1:
        raise ValueError(
            "pamr: expected 0 or more iterations and dilations of 1 or more pixels, "
            f"got {iterations} and {tuple(dilations)}"
        )
    weights = _weights(images.float(), dilations)
    result = scores.float()
    for _ in range(iterations):
        total = torch.zeros_like(result)
        for index, neighbour in enumerate(_neighbours(result, dilations)):
            total.addcmul_(neighbour, weights[:, index : index + 1])
        result = total
    return result


def _weights(images: Tensor, dilations: Sequence[int]) -> Tensor:
    """Weights of the neighbours, (B, 8 x dilations, H, W), summing to 1 over them."""
    samples = 9 * len(dilations)  # the centre counts once per dilation, as in the release
    first, second = torch.zeros_like(images), torch.zeros_like(images)
    for neighbour in _neighbours(images, dilations):
        difference = neighbour - images  # moments about the centre: no cancellation
        first += difference
        second.addcmul_(difference, difference)
    variance = (second - first * first / samples).clamp(min=0) / (samples - 1)
    scale = 1 / (_EPS + _SHARPNESS * variance.sqrt())
    energies = [
        -((neighbour - images).abs() * scale).mean(dim=1)
        for neighbour in _neighbours(images, dilations)
    ]
    return torch.stack(energies, dim=1).softmax(dim=1)


def _neighbours(maps: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Views of `maps` (B, C, H, W) moved by each neighbour's offset, borders replicated."""
    height, width = maps.shape[-2:]
    for reach in dilations:
        padded = F.pad(maps, (reach,) * 4, mode="replicate")
        for down, right in _RING:
            top, left = reach * (1 + down), reach * (1 + right)
            yield padded[..., top : top + height, left : left + width]
