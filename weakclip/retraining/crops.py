"""Random crops of images and masks that are read one by one, so memory does not grow with N."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.labels import IGNORE
from weakclip.training.stream import view_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from torch import Tensor

    from weakclip.retraining.recipe import Crops, Distortion, RetrainingRecipe

MEAN = (123.675, 116.28, 103.53)
"""Channel means of ImageNet, RGB, in 0-255 units."""
STD = (58.395, 57.12, 57.375)
"""Channel standard deviations of ImageNet, RGB, in 0-255 units."""


@dataclass(frozen=True, slots=True)
class CropBatch:
    """Input of one training step."""

    images: Tensor
    """(B, 3, S, S), uint8."""
    masks: Tensor
    """(B, S, S), uint8, 255 = undecided."""


@dataclass(frozen=True, slots=True)
class CropStream:
    """Training batches that depend on (seed, step) alone."""

    read: Callable[[int], tuple[Tensor, Tensor]]
    """Returns image (3, H, W), uint8, and mask (H, W), uint8 or int64, of a position."""
    count: int
    """Number of images."""
    recipe: RetrainingRecipe
    seed: int

    def __call__(self, step: int) -> CropBatch:
        """The batch of a step, 0-based; every image occurs once per epoch, in random order."""
        size = self.recipe.batch_size
        crops = []
        for place, position in enumerate(view_rows(self.count, 1, size, self.seed, step)):
            generator = np.random.default_rng([self.seed, step, place])
            crops.append(draw_crop(*self.read(position), self.recipe.crops, generator))
        images, masks = zip(*crops, strict=True)
        return CropBatch(torch.stack(images), torch.stack(masks))


def draw_crop(
    image: Tensor, mask: Tensor, crops: Crops, generator: Generator
) -> tuple[Tensor, Tensor]:
    """One random crop of an image and its mask.

    Args:
        image: (3, H, W), uint8.
        mask: (H, W), uint8 or int64, 255 = undecided; resized to the image by nearest neighbour if
            its size differs.
        crops: Parameters of the crop.
        generator: Source of randomness.

    Returns:
        Crop (3, S, S), uint8, and its mask (S, S), uint8. If a side of the scaled image is shorter
        than S, the image is placed at random and padded with ImageNet's mean colour and label 255.
    """
    if crops.drawn == "between":
        scale = float(generator.uniform(crops.scales[0], crops.scales[-1]))
    else:
        scale = crops.scales[int(generator.integers(len(crops.scales)))]
    if crops.of == "short-side":
        scale *= crops.size / min(image.shape[1:])
    height, width = (max(1, round(side * scale)) for side in image.shape[1:])
    resized = F.interpolate(
        image[None].float(), (height, width), mode="bilinear", align_corners=False, antialias=True
    )[0]
    labels = F.interpolate(mask[None, None].float(), (height, width), mode="nearest")[0, 0]
    pixels = resized.round().clamp(0, 255)
    top, left = (int(generator.integers(0, abs(side - crops.size) + 1)) for side in (height, width))
    canvas = torch.tensor(MEAN).round().view(3, 1, 1).repeat(1, crops.size, crops.size)
    target = torch.full((crops.size, crops.size), IGNORE, dtype=torch.uint8)
    (rows, to_rows), (columns, to_columns) = (
        _placed(first, side, crops.size) for first, side in ((top, height), (left, width))
    )
    crop = pixels[:, rows, columns]
    if crops.distortion is not None:
        crop = distort(crop.to(torch.uint8), crops.distortion, generator).float()
    canvas[:, to_rows, to_columns] = crop
    target[to_rows, to_columns] = labels[rows, columns].to(torch.uint8)
    if generator.random() < crops.mirror:
        canvas, target = canvas.flip(2), target.flip(1)
    return canvas.to(torch.uint8), target


def distort(image: Tensor, distortion: Distortion, generator: Generator) -> Tensor:
    """An image, (3, H, W) uint8, with other colours: each change is made or not, by a coin.

    Contrast changes before or after saturation and hue, by a coin as well.
    """
    from torchvision.transforms.v2 import functional as colours  # slow to import

    changes = [
        (change, float(generator.uniform(*limits)))
        for change, limits in (
            (colours.adjust_brightness, distortion.brightness),
            (colours.adjust_saturation, distortion.saturation),
            (colours.adjust_hue, distortion.hue),
        )
        if generator.random() < 0.5
    ]
    if generator.random() < 0.5:
        contrast = (colours.adjust_contrast, float(generator.uniform(*distortion.contrast)))
        changes.insert(len(changes) if generator.random() < 0.5 else 0, contrast)
    for change, factor in changes:
        image = change(image, factor)
    return image


def _placed(first: int, side: int, size: int) -> tuple[slice, slice]:
    """Slice of a side that is used, and slice of the crop of `size` that it fills."""
    if side >= size:
        return slice(first, first + size), slice(0, size)
    return slice(0, side), slice(first, first + side)
