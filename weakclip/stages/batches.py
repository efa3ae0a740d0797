"""Image batches for baselines: checks, resizing and whole patches.

Every baseline starts with these steps, and the resampling changes results; so they are here once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from torch import Tensor


def check_batch(images: Tensor, image_labels: Tensor, *, classes: int) -> tuple[int, int]:
    """Check images (B, 3, H, W), uint8, and tags (B, F), bool; height and width of the images.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape is wrong or images and tags differ in number.
    """
    batch, channels, height, width = dims(images, "B 3 H W", name="images")
    if images.dtype != torch.uint8 or image_labels.dtype != torch.bool:
        raise TypeError(
            "expected uint8 images and bool image_labels, got "
            f"{images.dtype} and {image_labels.dtype}; pass images as read, in 0..255"
        )
    if channels != 3 or min(height, width) < 1:
        raise ValueError(f"images: expected shape (B, 3, H, W), got {tuple(images.shape)}")
    if tuple(image_labels.shape) != (batch, classes):
        raise ValueError(
            f"image_labels: expected shape {(batch, classes)} for {batch} images and {classes} "
            f"classes, got {tuple(image_labels.shape)}"
        )
    return height, width


def resize_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic resampling with antialiasing; equals Pillow's within one grey level.

    As in Pillow, columns are resampled first and rounded to 8 bits before the rows. Images of the
    wanted size are returned as they are.
    """
    height, width = size
    for step in ((images.shape[-2], width), (height, width)):
        if tuple(images.shape[-2:]) != step:
            images = F.interpolate(
                images.float(), step, mode="bicubic", align_corners=False, antialias=True
            )
            images = images.round_().clamp_(0, 255).to(torch.uint8)
    return images


def whole_patches(size: tuple[int, int], patch: int, *, scale: float = 1.0) -> tuple[int, int]:
    """The size times `scale`, rounded up to whole patches; at least one patch per side.

    Example:
        >>> whole_patches((375, 500), 16)
        (384, 512)
    """
    height, width = (patch * max(1, math.ceil(scale * side / patch)) for side in size)
    return height, width
