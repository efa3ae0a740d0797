"""Image files as RGB arrays, for images of cameras, scanners and drawing programs.

Conventions: EXIF orientation is applied; transparent pixels are blended with white; grey and 16-bit
values are scaled to 8 bits (65535 becomes 255, nothing is clipped); CMYK is converted without its
colour profile; an animation gives its first frame. HEIC is read if pillow-heif is installed (the
extra `heif`).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from weakclip.data.read.opened import UnfitError, with_image
from weakclip.data.read.signatures import IMAGE_SUFFIXES, sniff

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray
    from PIL import ImageFile

_DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, ArithmeticError, LookupError,
    MemoryError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""What decoders raise on damaged or misnamed files."""

_SCALE = "scale it to 0 to 255 and save it as 8-bit PNG"
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """Properties of an image file before conversion to RGB."""

    size: tuple[int, int]
    """(H, W) of the upright image."""
    mode: str
    """Pillow's mode, e.g. "RGB", "L", "CMYK", "I;16"."""
    rotated: bool
    """Whether EXIF orientation rotates or mirrors the stored pixels."""
    alpha: bool
    """Whether a pixel can be transparent."""
    deep: bool
    """Whether a channel has more than 8 bits."""


@contextmanager
def readable(path: Path, what: str, *also: type[Exception]) -> Iterator[None]:
    """Convert the exceptions of a damaged file to a `ValueError` that names it.

    `what` is its expected content, e.g. "image"; `also` are further exceptions of its reader.
    """
    damage: tuple[type[Exception], ...] = (*_DAMAGE, *also)
    _refuse_pipes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn about oddities that they can handle
            yield
    except UnfitError as error:
        raise ValueError(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path}: {what} of too many pixels ({error}); make it smaller, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS if you trust the file"
        ) from error
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such {what}; copy it, or remove what names it") from error
    except damage as error:
        if isinstance(error, UnidentifiedImageError) and (kind := sniff(path)) and kind.advice:
            said = (
                f"{kind.name} that is not read here" if kind.picture else f"{kind.name}, no {what}"
            )
            raise ValueError(f"{path}: is {said}; {kind.advise(path.name)}") from error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            raise ValueError(f"{path}: {reason}; shorten the name") from error
        raise ValueError(f"{path}: damaged {what} ({reason}); copy or generate it again") from error


def _refuse_pipes(path: Path) -> None:
    """Raise a ValueError if reading might never end: for a pipe, a socket or a device."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # the reader says why
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path}: is a pipe or a device, not a file; remove it, or what names it")


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image by the conventions of this module: (H, W, 3), uint8, RGB.

    Raises:
        ValueError: If the file is missing or damaged, exceeds Pillow's limit against decompression
            bombs (about 179 million pixels), or contains floats.
    """
    with readable(path, "image"):
        return with_image(path, lambda image: _rgb(ImageOps.exif_transpose(image)))


def probe(path: Path) -> ImageFacts:
    """The properties of an image file; every pixel is decoded to detect damage.

    Raises:
        ValueError: As for `read_rgb`.
    """
    with readable(path, "image"):
        return with_image(path, _facts)


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of the stored pixels, from the header alone.

    Raises:
        ValueError: If the file is missing or its header is damaged.
    """
    with readable(path, "image"):
        return with_image(path, lambda image: (image.height, image.width))


def seen_size(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """(H, W) of the stored pixels and of the upright image, without decoding where possible.

    Raises:
        ValueError: If the file is missing or damaged.
    """

    def sizes(image: ImageFile.ImageFile) -> tuple[tuple[int, int], tuple[int, int]]:
        stored = (image.height, image.width)
        turned = image.getexif().get(_ORIENTATION, 1) in range(5, 9)
        return stored, stored[::-1] if turned else stored

    with readable(path, "image"):
        return with_image(path, sizes)


def image_names(root: Path, *, skip: Collection[Path] = ()) -> tuple[str, ...]:
    """Paths of the images below a folder, relative to it, with slashes, sorted.

    Links to folders are not followed, which avoids loops. Hidden files and the sub-folders in
    `skip` are left out. A folder whose name ends like that of an image is listed, so that it is
    reported as unreadable.
    """
    return tuple(
        sorted(
            path.relative_to(root).as_posix()
            for path in walk(root, skip=skip)
            if path.name.lower().endswith(IMAGE_SUFFIXES)
        )
    )


def walk(root: Path, *, skip: Collection[Path] = ()) -> Iterator[Path]:
    """Files below a folder, but not hidden or in `skip`, and folders that are named like images."""
    left_out = {path.resolve() for path in skip}
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        false_images = [name for name in folders if name.lower().endswith(IMAGE_SUFFIXES)]
        yield from (here / name for name in [*files, *false_images] if not name.startswith("."))
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in false_images
            and (here / name).resolve() not in left_out
        ]


def _facts(image: ImageFile.ImageFile) -> ImageFacts:
    deep = image.mode.startswith(("I", "F")) or ";16" in _stored_mode(image)
    orientation = image.getexif().get(_ORIENTATION, 1)  # may decode, which resets the tile
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


def _stored_mode(image: ImageFile.ImageFile) -> str:
    """The pixel format in the file, e.g. "RGB;16B"; known only before the image is decoded."""
    arguments = image.tile[0].args if image.tile else None
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("F"):
        low, high = image.getextrema()
        raise UnfitError(
            f"expected 8 or 16 bits a channel, got floats from {low:g} to {high:g}, which do not "
            f"say what is white; {_SCALE}"
        )
    if image.mode.startswith("I"):
        return _from_deep_grey(np.asarray(image))
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, picture)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _from_deep_grey(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Convert (H, W) integers in [0, 65535] to (H, W, 3), uint8."""
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise UnfitError(
            f"expected 16-bit values (0 to 65535), got {wide.min()} to {wide.max()}; {_SCALE}"
        )
    grey = ((wide + 128) // 257).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
