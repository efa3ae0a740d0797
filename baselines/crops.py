"""Training views of the baselines: resized, mirrored, cropped or padded at random.

Unlike in `weakclip.training.views`, an image that is smaller than the view is placed at a random
position in it, not at its corner. CLIMS and the classifier from which it starts use `CropViews`:
padding is 0 *after* normalisation, that is, the mean colour. WeCLIP uses `ScaledCrops`.

References:
    Ahn et al., IRN, CVPR 2019 (`jiwoon-ahn/irn`), whose loader CLIMS keeps.
    Ru et al., AFA, CVPR 2022, whose loader WeCLIP keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.convnet.backbone import MEAN, STD
from weakclip.ops.shapes import dims
from weakclip.stages.batches import resize_images
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class CropViews:
    """Settings of CLIMS's views; the defaults are the release's."""

    long_side: tuple[int, int] = (320, 640)
    """Range of the long side in pixels after resizing, both ends included."""
    size: int = 512
    """Side of the square view in pixels."""
    mirror: float = 0.5
    """Probability of a horizontal flip."""

    def __post_init__(self) -> None:
        if not 1 <= self.long_side[0] <= self.long_side[1] or self.size < 1:
            raise ValueError(
                "views: expected 1 <= shortest <= longest long side and a size of 1 or more, got "
                f"{self.long_side} and {self.size}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledCrops:
    """Settings of WeCLIP's views; the defaults are the release's. Padding is black."""

    size: int = 320
    """Side of the square view in pixels."""
    factor: tuple[float, float] = (0.5, 2.0)
    """Range of the size of the image relative to the original."""
    mirror: float = 0.5
    """Probability of a horizontal flip."""

    def __post_init__(self) -> None:
        if not 0 < self.factor[0] <= self.factor[1] or self.size < 1:
            raise ValueError(
                "views: expected 0 < smallest <= largest factor and a size of 1 or more, got "
                f"{self.factor} and {self.size}"
            )


def draw_crop(image: Tensor, views: CropViews, generator: Generator) -> Tensor:
    """One random view.

    Args:
        image: (3, H, W), uint8.
        views: Settings.
        generator: Random generator.

    Returns:
        (3, S, S), float32, normalised with ImageNet's mean and standard deviation, 0 outside the
        image.
    """
    _, height, width = dims(image, "3 H W", name="image")
    long_side = int(generator.integers(views.long_side[0], views.long_side[1] + 1))
    scale = long_side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    view = normalise_images(resize_images(image[None], size), MEAN, STD)[0]
    if generator.random() < views.mirror:
        view = view.flip(-1)
    crop = view.new_zeros(3, views.size, views.size)
    (top, to_top, rows), (left, to_left, columns) = (
        place(side, views.size, generator) for side in size
    )
    crop[:, to_top : to_top + rows, to_left : to_left + columns] = view[
        :, top : top + rows, left : left + columns
    ]
    return crop


def draw_scaled_crop(
    pictures: Sequence[Tensor], crops: ScaledCrops, generator: Generator
) -> list[Tensor]:
    """The same random view of an image and of its maps.

    Args:
        pictures: The image, (3, H, W), then maps to crop with it, (C, h, w) each, of any size.
        crops: Settings.
        generator: Random generator.

    Returns:
        The views, (C, S, S) each, float32, 0 outside the image.
    """
    factor = float(generator.uniform(*crops.factor))
    size = [max(1, int(side * factor)) for side in pictures[0].shape[1:]]
    mirrored = generator.random() < crops.mirror
    (top, to_top, rows), (left, to_left, columns) = (
        place(side, crops.size, generator) for side in size
    )
    views = []
    for picture in pictures:
        resized = F.interpolate(
            picture[None].float(), size, mode="bilinear", align_corners=False, antialias=True
        )[0]
        resized = resized.flip(-1) if mirrored else resized
        view = resized.new_zeros(len(picture), crops.size, crops.size)
        view[:, to_top : to_top + rows, to_left : to_left + columns] = resized[
            :, top : top + rows, left : left + columns
        ]
        views.append(view)
    return views


def place(side: int, size: int, generator: Generator) -> tuple[int, int, int]:
    """Random position, along one axis, of a view of `size` pixels on an image of `side` pixels.

    Returns:
        Start in the image, start in the view, and length of the part that is copied.
    """
    start = int(generator.integers(0, abs(side - size) + 1))
    return (start, 0, size) if side > size else (0, start, side)
