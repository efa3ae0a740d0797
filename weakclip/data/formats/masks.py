"""Label masks on disk: palette PNGs as VOC stores them, written so that no half file is trusted.

A mask is a (H, W) uint8 array: 0 background, c + 1 for foreground class c, 255 void or undecided.
The palette only makes the file viewable; readers take the indices and never the colours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from weakclip.data.atomic import replacing
from weakclip.data.read.images import readable
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def voc_palette() -> NDArray[np.uint8]:
    """VOC's colour of every label, (256, 3) uint8 RGB.

    Example:
        >>> voc_palette()[[1, 15, 255]].tolist()
        [[128, 0, 0], [192, 128, 128], [224, 224, 192]]
    """
    labels = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((labels >> channel) & 1) << (7 - bit)).astype(np.uint8)
        labels >>= 3
    return palette


VOC_PALETTE = voc_palette()

LABEL_MODES = ("P", "L")
"""Pillow's modes of a file that holds labels: palette and 8-bit grey."""


def write_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write a label mask as a palette PNG (mode P), atomically.

    Args:
        path: Target; its folder must exist. A file that is there is replaced.
        mask: Labels, (H, W) uint8.

    Raises:
        ValueError: If the array is not two-dimensional uint8.
    """
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise ValueError(
            f"{path}: expected a (H, W) uint8 mask, got {mask.shape} {mask.dtype}; "
            "convert with .astype(np.uint8)"
        )
    image = Image.fromarray(mask)
    image.putpalette(VOC_PALETTE.tobytes())
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read the labels of a palette or single-channel PNG.

    Returns:
        Labels, (H, W) uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, or is a colour picture of a mask.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such mask")
    with readable(path, "mask"), Image.open(path) as image:
        mode = image.mode
        labels = np.array(image, dtype=np.uint8) if mode in LABEL_MODES else None
    if labels is None:
        raise ValueError(
            f"{path}: expected label indices (a palette or 8-bit grey PNG), got mode {mode}; "
            "a colour picture of a mask has lost its labels, use the original file"
        )
    return labels


def void_border(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels next to another label: where the 3x3 dilation and erosion of the map differ.

    Args:
        labels: Any label map, (H, W).

    Returns:
        (H, W) bool, a line two pixels wide along each boundary, one on either side.

    Example:
        >>> void_border(np.array([[0, 0, 0, 5, 5]], dtype=np.uint8)).astype(int).tolist()
        [[0, 0, 1, 1, 0]]
    """
    high, low = labels, labels
    for axis in (0, 1):
        high = _neighbours(high, axis, np.maximum)
        low = _neighbours(low, axis, np.minimum)
    border: NDArray[np.bool_] = high != low
    return border


def with_void_border(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of `labels`, (H, W), with 255 on the border between any two labels."""
    return np.where(void_border(labels), np.uint8(IGNORE), labels)


def _neighbours(labels: NDArray[np.uint8], axis: int, extreme: np.ufunc) -> NDArray[np.uint8]:
    """The extreme of each value and its two neighbours along `axis`."""
    out = labels.copy()
    here, there = [slice(None)] * 2, [slice(None)] * 2
    here[axis], there[axis] = slice(1, None), slice(None, -1)
    extreme(out[tuple(here)], labels[tuple(there)], out=out[tuple(here)])
    extreme(out[tuple(there)], labels[tuple(here)], out=out[tuple(there)])
    return out
