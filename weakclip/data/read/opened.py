"""Images opened by Pillow, with workarounds for files that it rejects."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from PIL import Image, UnidentifiedImageError

from weakclip.data.read.signatures import by_suffix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import ImageFile

T = TypeVar("T")


class UnfitError(ValueError):
    """An intact file that cannot be used here; the message says what to do."""


def with_image(path: Path, work: Callable[[ImageFile.ImageFile], T]) -> T:
    """The result of `work` for an opened image, also for HEIC and for PNG with long texts.

    Pillow rejects a PNG whose text chunks unpack to more than a megabyte, although they are
    independent of the pixels; such a file is read without its texts.

    Raises:
        UnfitError: If the file is a camera's raw file, of which Pillow would read the thumbnail.
        OSError: If the file cannot be read; Pillow also raises other exceptions.
    """
    if raw := by_suffix(path):
        raise UnfitError(f"is {raw.name} that is not read here; {raw.advise(path.name)}")
    try:
        with Image.open(path) as image:
            return work(image)
    except UnidentifiedImageError:
        if not _reads_heif():
            raise
        with Image.open(path) as image:
            return work(image)
    except ValueError as error:
        if "TEXT_CHUNK" not in str(error) and "text chunks" not in str(error):
            raise
        with Image.open(_without_text(path)) as image:
            return work(image)


@lru_cache(maxsize=1)
def _reads_heif() -> bool:
    """Register pillow-heif with Pillow; whether it is installed."""
    try:
        plugin = import_module("pillow_heif")
    except ImportError:
        return False
    plugin.register_heif_opener()
    return True


_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def _without_text(path: Path) -> io.BytesIO:
    """The PNG without chunks that can hold megabytes of data other than pixels."""
    content = path.read_bytes()
    kept, at = [content[:8]], 8
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4])
        if content[at + 4 : at + 8] not in _TEXT:
            kept.append(content[at:end])
        at = end
    return io.BytesIO(b"".join(kept))
