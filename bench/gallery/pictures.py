"""Pictures of one image: WebP for images and maps, palette PNG for label maps."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageColor
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.gallery.index import ERROR_KEYS
from weakclip.data.formats.masks import VOC_PALETTE
from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

QUALITY = 80
_ERROR_PALETTE = np.array([ImageColor.getrgb(colour) for colour in ERROR_KEYS.values()], np.uint8)
_HEAT = np.array([[30, 20, 90], [160, 40, 110], [235, 105, 40], [252, 235, 140]], np.float64)
"""Colours of a CAM from 0 to 1, dark to light, so that they can be told apart in grey."""


def image_picture(image: Tensor) -> bytes:
    """Return a WebP of an image, (3, H, W), uint8."""
    return _webp(image.permute(1, 2, 0).numpy())


def cam_picture(image: Tensor, cam: Tensor) -> bytes:
    """Return a WebP of the largest activation over all classes, overlaid on the grey image.

    The image is (3, H, W), uint8, the maps (F, h, w), in [0, 1]; absent classes are zero.
    """
    size = (image.shape[1], image.shape[2])
    strongest = cam.float().amax(0)[None, None]
    heat = F.interpolate(strongest, size, mode="bilinear", align_corners=False)[0, 0].clamp(0, 1)
    places = np.linspace(0, 1, len(_HEAT))
    colours = np.stack([np.interp(heat.numpy(), places, _HEAT[:, c]) for c in range(3)], axis=-1)
    grey = image.float().mean(0).numpy()[..., None]
    return _webp((0.35 * grey + 0.65 * colours).round().astype(np.uint8))


def mask_picture(mask: Tensor) -> bytes:
    """Return a PNG of a label map, (H, W), in VOC's palette; 255 is undecided or void."""
    return _png(mask.to(torch.uint8).numpy(), VOC_PALETTE)


def error_picture(pred: Tensor, gt: Tensor) -> bytes:
    """Return a PNG of the kind of error of each pixel, `ERROR_KEYS`, from labels (H, W)."""
    return _png(error_codes(pred, gt).numpy(), _ERROR_PALETTE)


def error_codes(pred: Tensor, gt: Tensor) -> Tensor:
    """Return the index in `ERROR_KEYS` of each pixel, (H, W), uint8.

    Example:
        >>> error_codes(torch.tensor([[1, 1, 0, 1, 1]]), torch.tensor([[1, 0, 1, 2, 255]])).tolist()
        [[0, 1, 2, 3, 4]]
    """
    codes = torch.zeros_like(gt, dtype=torch.uint8)
    codes[(pred != gt) & (gt == BACKGROUND)] = 1
    codes[(pred == BACKGROUND) & (gt != BACKGROUND)] = 2
    codes[(pred != gt) & (pred != BACKGROUND) & (gt != BACKGROUND)] = 3
    codes[gt == IGNORE] = 4
    return codes


def _png(labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(labels)
    picture.putpalette(palette.tobytes())
    return _saved(picture, "PNG", optimize=True)


def _webp(pixels: NDArray[np.uint8]) -> bytes:
    return _saved(Image.fromarray(pixels), "WEBP", quality=QUALITY, method=6)


def _saved(picture: Image.Image, format_: str, **options: int) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format=format_, **options)
    return buffer.getvalue()
