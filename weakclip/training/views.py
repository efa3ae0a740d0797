"""Training views: random crops of an image together with its seeds.

The random generator is seeded by image and view, never by the model, so that all variants of a
study see the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """A random view: resized by a random ratio, cropped or padded to a square, mirrored."""

    size: int = 512
    """Side of the view in pixels."""
    ratio: tuple[float, float] = (0.5, 2.0)
    """Range of the resize ratio relative to an image whose short side equals `size`."""
    mirror: float = 0.5
    """Probability of a horizontal flip."""
    largest_class: float = 0.75
    """A crop is redrawn (10 tries) if one class has at least this fraction of its seeds."""


def draw_view(
    image: Tensor, seeds: Tensor, framing: Framing, generator: Generator
) -> tuple[Tensor, Tensor]:
    """One random view of an image and its seeds.

    Args:
        image: (3, H, W), uint8.
        seeds: (H, W), int64, 255 = undecided.
        framing: Parameters of the view.
        generator: Source of randomness.

    Returns:
        View (3, S, S), uint8, 0 outside the image, and its seeds (S, S), int64, 255 outside.
    """
    short = min(image.shape[1:])
    ratio = float(generator.uniform(*framing.ratio)) * framing.size / short
    height, width = (max(1, round(side * ratio)) for side in image.shape[1:])
    resized = F.interpolate(
        image[None].float(), (height, width), mode="bilinear", align_corners=False, antialias=True
    )[0]
    resized = resized.round().clamp(0, 255).to(torch.uint8)
    labels = F.interpolate(seeds[None, None].float(), (height, width), mode="nearest")[0, 0].long()
    for _ in range(10):
        top = int(generator.integers(0, max(1, height - framing.size + 1)))
        left = int(generator.integers(0, max(1, width - framing.size + 1)))
        crop = labels[top : top + framing.size, left : left + framing.size]
        decided = crop[crop != IGNORE]
        counts = torch.bincount(decided.flatten())
        several = int((counts > 0).sum()) > 1
        if several and float(counts.max()) < framing.largest_class * len(decided):
            break
    pixels = resized[:, top : top + framing.size, left : left + framing.size]
    pad = (0, framing.size - crop.shape[1], 0, framing.size - crop.shape[0])
    pixels, crop = F.pad(pixels, pad), F.pad(crop, pad, value=IGNORE)
    if generator.random() < framing.mirror:
        pixels, crop = pixels.flip(2), crop.flip(1)
    return pixels.contiguous(), crop.contiguous()


def normalise_images(
    images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Subtract the mean and divide by the standard deviation of each channel.

    Args:
        images: (B, 3, H, W), uint8.
        mean: Mean per channel, 0-255 units.
        std: Standard deviation per channel, 0-255 units.

    Returns:
        (B, 3, H, W), float32.
    """
    shape = (1, 3, 1, 1)
    centre = torch.tensor(mean, device=images.device).view(shape)
    scale = torch.tensor(std, device=images.device).view(shape)
    return (images.float() - centre) / scale
