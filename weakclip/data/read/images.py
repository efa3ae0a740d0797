"""Image files to RGB arrays, whatever a camera, a scanner or a drawing program made of them.

Conventions, so that a picture has one meaning: EXIF orientation is applied; transparent pixels are
seen on white; grey and 16-bit values are scaled to 8 bits (65535 becomes 255, nothing is clipped);
CMYK is converted without its colour profile; of an animation the first frame is taken.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL import ImageFile

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

_DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, ArithmeticError, LookupError,
    MemoryError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""What decoders raise on files that are not what their name says."""

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What a file is before it becomes RGB."""

    size: tuple[int, int]
    """(H, W) of the upright image."""
    mode: str
    """Pillow's mode, e.g. "RGB", "L", "CMYK", "I;16"."""
    rotated: bool
    """Whether EXIF orientation turns or mirrors the stored pixels."""
    alpha: bool
    """Whether some pixel can be transparent."""
    deep: bool
    """Whether a channel has more than 8 bits."""


@contextmanager
def readable(path: Path, what: str, *also: type[Exception]) -> Iterator[None]:
    """Turn whatever a damaged file raises into a `ValueError` that names it.

    Args:
        path: The file that the block reads.
        what: What it should be, e.g. "image".
        also: What else its reader raises on damage.

    Raises:
        ValueError: If the block fails as it does on a damaged file.
    """
    damage: tuple[type[Exception], ...] = (*_DAMAGE, *also)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of oddities that they have solved
            yield
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path}: {what} of too many pixels ({error}); make it smaller, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS if you trust the file"
        ) from error
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such {what}; copy it, or remove what names it") from error
    except damage as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"{path}: damaged {what} ({reason}); copy or generate it again") from error


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image by the conventions of this module.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: If the file is missing or damaged, has more pixels than Pillow's limit
            against decompression bombs (about 179 million), or holds floats.
    """
    with readable(path, "image"), Image.open(path) as image:
        return _rgb(ImageOps.exif_transpose(image))


def probe(path: Path) -> ImageFacts:
    """The facts of an image file; every pixel is decoded, so that damage shows.

    Raises:
        ValueError: As `read_rgb`.
    """
    with readable(path, "image"), Image.open(path) as image:
        deep = image.mode.startswith(("I", "F")) or ";16" in _stored_mode(image)
        orientation = image.getexif().get(_ORIENTATION, 1)  # may decode, which forgets the former
        upright = ImageOps.exif_transpose(image)
        facts = ImageFacts(
            size=(upright.height, upright.width),
            mode=image.mode,
            rotated=orientation in range(2, 9),
            alpha=image.has_transparency_data,
            deep=deep,
        )
        _rgb(upright)
        return facts


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) as stored, from the header alone.

    Raises:
        ValueError: If the file is missing or its header is damaged.
    """
    with readable(path, "image"), Image.open(path) as image:
        return image.height, image.width


def image_names(root: Path, *, skip: Path | None = None) -> tuple[str, ...]:
    """Paths of the images below a folder, relative to it, with slashes, sorted.

    Links to folders are not followed, so a loop of links ends. Hidden files are left out. A folder
    that is called like an image is listed: it fails as an image does, instead of being silent.

    Args:
        root: The folder.
        skip: A folder below it to leave out, e.g. that of the masks.
    """
    left_out = skip and skip.resolve()
    names: list[str] = []
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        false_images = [name for name in folders if name.lower().endswith(IMAGE_SUFFIXES)]
        names += [
            (here / name).relative_to(root).as_posix()
            for name in [*files, *false_images]
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
        ]
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in false_images
            and (here / name).resolve() != left_out
        ]
    return tuple(sorted(names))


def _stored_mode(image: ImageFile.ImageFile) -> str:
    """How the file stores a pixel, e.g. "RGB;16B"; known before the image is decoded."""
    arguments = image.tile[0].args if image.tile else None
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("F"):
        raise ValueError("expected 8 or 16 bits a channel, got floats of unknown range")
    if image.mode.startswith("I"):
        return _from_deep_grey(np.asarray(image))
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, picture)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _from_deep_grey(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """(H, W) integers in [0, 65535] to (H, W, 3) uint8."""
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError(f"expected 16-bit values, got {wide.min()} to {wide.max()}")
    grey = ((wide + 128) // 257).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
