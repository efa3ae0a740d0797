"""Label masks on disk: palette PNGs as in VOC, written atomically.

A mask is a (H, W) uint8 array: 0 background, c + 1 for foreground class c, 255 void or undecided.
The palette only makes the file viewable; readers use the indices, not the colours.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from weakclip.data.atomic import replacing
from weakclip.data.read.images import readable
from weakclip.data.read.opened import UnfitError, with_image
from weakclip.data.read.signatures import IMAGE_SUFFIXES
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import ImageFile


def voc_palette() -> NDArray[np.uint8]:
    """VOC's colour of every label, (256, 3), uint8, RGB.

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
"""Pillow's modes of label files: palette and 8-bit grey."""

MASK_SUFFIXES = (".png", ".npy", *(suffix for suffix in IMAGE_SUFFIXES if suffix != ".png"))
"""Suffixes of possible mask files, in order of preference."""

LOSSY = ("AVIF", "HEIF", "JPEG", "JPEG2000", "MPO", "WEBP")
"""Pillow's names of formats that may change the stored values."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredMask:
    """Content of a mask file."""

    size: tuple[int, int]
    """(H, W)."""
    kind: str
    """Pillow's mode, or shape and dtype of an array, as text."""
    labels: NDArray[np.uint8] | None
    """(H, W); None if the file contains colours or its format cannot hold labels."""
    lossy: bool
    """Whether the file format is lossy."""


def write_mask(path: Path, mask: NDArray[np.uint8], *, durable: bool = True) -> None:
    """Write a label mask, (H, W), uint8, as a palette PNG (mode P), atomically; see `replacing`.

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
    with replacing(path, durable=durable) as temporary:
        image.save(temporary, format="PNG")


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read the labels of a mask file with one of `MASK_SUFFIXES`: (H, W), uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, contains colours, or has a lossy format.
    """
    if not exists(path):
        raise FileNotFoundError(f"{path}: no such mask")
    stored = decode_mask(path)
    if stored.lossy:
        raise ValueError(
            f"{path}: expected label indices, got {stored.kind}, which changes them a little all "
            "over; use the original file, as PNG"
        )
    if stored.labels is None:
        raise ValueError(
            f"{path}: expected label indices (a palette or 8-bit grey PNG), got {stored.kind}; "
            "a colour picture of a mask has lost its labels, use the original file"
        )
    return stored.labels


def decode_mask(path: Path) -> StoredMask:
    """Content of a mask file, whether it contains labels or not.

    Raises:
        ValueError: If the file is missing or damaged, or is an array that cannot be a mask.
    """
    with readable(path, "mask"):
        if path.suffix.lower() == ".npy":
            return _from_array(np.load(path, mmap_mode="r", allow_pickle=False))
        return with_image(path, _from_image)


def _from_image(image: ImageFile.ImageFile) -> StoredMask:
    image.load()
    lossy = image.format in LOSSY
    indices = np.array(image, dtype=np.uint8) if image.mode in LABEL_MODES and not lossy else None
    if indices is not None and image.format == "GIF":
        indices = _by_colour(indices, image)
    format_name = "" if image.format == "PNG" else f" of {image.format}"
    return StoredMask(
        size=(image.height, image.width),
        kind=f"mode {image.mode}{format_name}",
        labels=indices,
        lossy=lossy,
    )


def _by_colour(indices: NDArray[np.uint8], image: Image.Image) -> NDArray[np.uint8] | None:
    """Labels of a GIF by its colours: VOC's palette or grey levels. Writers reorder GIF indices."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    colours = np.asarray(image.getpalette("RGB") or np.arange(256).repeat(3), dtype=np.uint8)
    palette[: len(colours) // 3] = colours.reshape(-1, 3)
    used = np.unique(indices)
    label_of = {tuple(colour): label for label, colour in enumerate(VOC_PALETTE.tolist())}
    found = [label_of.get(tuple(colour), -1) for colour in palette[used].tolist()]
    labels = np.zeros(256, dtype=np.uint8)
    if min(found) >= 0:
        labels[used] = found
    elif (palette[used] == palette[used, :1]).all():
        labels[used] = palette[used, 0]
    else:
        return None
    return labels[indices]


def _from_array(array: NDArray[np.generic]) -> StoredMask:
    kind = f"an array {array.shape} of {array.dtype}"
    if array.ndim != 2 or array.dtype.kind not in "biu" or not array.size:
        raise UnfitError(f"expected labels (H, W) as integers, got {kind}; save labels only")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > IGNORE:
        raise UnfitError(
            f"expected labels 0 to {IGNORE}, got {low} to {high}; write {IGNORE} for void"
        )
    labels = np.array(array, dtype=np.uint8)
    return StoredMask(size=labels.shape, kind=kind, labels=labels, lossy=False)


def exists(path: Path) -> bool:
    """Whether a path exists; false if its name is too long."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def is_whole(path: Path) -> bool:
    """Whether a mask exists and can be read completely."""
    try:
        read_mask(path)
    except (FileNotFoundError, ValueError):
        return False
    return True


def void_border(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of a label map next to another label, where 3x3 dilation and erosion differ.

    Returns:
        (H, W), bool: a line two pixels wide along each boundary, one pixel on either side.

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
    """Maximum or minimum (`extreme`) of each value and its two neighbours along `axis`."""
    out = labels.copy()
    here, there = [slice(None)] * 2, [slice(None)] * 2
    here[axis], there[axis] = slice(1, None), slice(None, -1)
    extreme(out[tuple(here)], labels[tuple(there)], out=out[tuple(here)])
    extreme(out[tuple(there)], labels[tuple(here)], out=out[tuple(there)])
    return out
