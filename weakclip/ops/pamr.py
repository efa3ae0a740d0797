"""Pixel-adaptive mask refinement (PAMR): scores diffuse between pixels of similar colour.

It is cheaper than a dense CRF: a few rounds of averaging over 8 neighbours at several distances,
with weights that depend only on the image. It needs only torch, and is batched over images and
classes. The pixel-adaptive refinement (PAR) of later papers has other weights, `PAR_KERNEL`.

References:
    Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, section
    3.3; released code: visinf/1-stage-wseg.
    Ru et al., "Learning Affinity from Attention" (AFA), CVPR 2022 (PAR).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

DILATIONS = (1, 2, 4, 8, 12, 24)
"""Distances in pixels of the 8 neighbours, as in the release."""

_EPS = 1e-8
_RING = tuple(step for step in product((-1, 0, 1), repeat=2) if step != (0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Weights of a pixel's neighbours as a function of the image. The defaults are PAMR's.

    A weight is a softmax over minus the colour difference, in units of a fraction of the local
    standard deviation. Optionally, a softmax over minus the squared distance is added, in units of
    the same fraction of the standard deviation of the distances.
    """

    share: float = 0.1
    """Fraction of the standard deviation that is the unit of a difference."""
    exponent: Literal[1, 2] = 1
    """Exponent of a colour difference in that unit."""
    deviation: Literal["window", "neighbours"] = "window"
    """Samples of the local standard deviation: the neighbours and, once per dilation, the pixel
    itself; or the neighbours only."""
    position: float = 0.0
    """Factor on the distance term; the weights sum to 1 + position."""


PAMR_KERNEL = Kernel()
PAR_KERNEL = Kernel(share=0.3, exponent=2, deviation="neighbours", position=0.01)
"""AFA's weights, also used by WeCLIP and ExCEL. Scores grow by 1.01 with every iteration."""


@torch.no_grad()
def pamr(
    images: Tensor,
    scores: Tensor,
    *,
    iterations: int = 10,
    dilations: Sequence[int] = DILATIONS,
    kernel: Kernel = PAMR_KERNEL,
) -> Tensor:
    """Average every score map repeatedly, along the image.

    A pixel has 8 neighbours per dilation; borders are replicated, and the pixel itself is left out.
    With `PAMR_KERNEL` the weights sum to 1, so the sum over labels is preserved and values stay in
    their range.

    Args:
        images: (B, 3, H, W), any dtype and range; an affine change of a channel's intensities has
            no effect.
        scores: (B, L, H, W), any range.
        iterations: Rounds of averaging, 0 or more.
        dilations: Distances of the neighbours in pixels.
        kernel: Weights of the neighbours.

    Returns:
        (B, L, H, W), float32, in the range of `scores` times (1 + position) per iteration; no
        gradients.

    Raises:
        ValueError: If sizes differ, there is no dilation or one below 1, or `iterations` is
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
    weights = _weights(images.float(), dilations, kernel)
    result = scores.float()
    for _ in range(iterations):
        total = torch.zeros_like(result)
        for index, neighbour in enumerate(_neighbours(result, dilations)):
            total.addcmul_(neighbour, weights[:, index : index + 1])
        result = total
    return result


def _weights(images: Tensor, dilations: Sequence[int], kernel: Kernel) -> Tensor:
    """Weights of the neighbours, (B, 8 x dilations, H, W), summing to 1 + position over them."""
    samples = (8 + (kernel.deviation == "window")) * len(dilations)
    first, second = torch.zeros_like(images), torch.zeros_like(images)
    for neighbour in _neighbours(images, dilations):
        difference = neighbour - images  # moments about the centre avoid cancellation
        first += difference
        second.addcmul_(difference, difference)
    variance = (second - first * first / samples).clamp(min=0) / (samples - 1)
    scale = 1 / (_EPS + kernel.share * variance.sqrt())
    energies = [
        -((neighbour - images).abs() * scale).pow(kernel.exponent).mean(dim=1)
        for neighbour in _neighbours(images, dilations)
    ]
    weights = torch.stack(energies, dim=1).softmax(dim=1)
    return weights + kernel.position * _nearness(dilations, kernel.share).to(weights)


def _nearness(dilations: Sequence[int], share: float) -> Tensor:
    """Softmax over minus the squared distance of the neighbours, (8 x dilations, 1, 1)."""
    distances = torch.tensor([reach * math.hypot(*step) for reach in dilations for step in _RING])
    energies = -(distances / (_EPS + share * distances.std())).square()
    return energies.softmax(dim=0).view(-1, 1, 1)


def _neighbours(maps: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Views of `maps` (B, C, H, W), shifted by each neighbour's offset, with borders replicated."""
    height, width = maps.shape[-2:]
    for reach in dilations:
        padded = F.pad(maps, (reach,) * 4, mode="replicate")
        for down, right in _RING:
            top, left = reach * (1 + down), reach * (1 + right)
            yield padded[..., top : top + height, left : left + width]
