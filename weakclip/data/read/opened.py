"""Images opened by Pillow, also those that it opens only with some help."""

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
    """A file that is whole, and still no image that can be used here; says the way out."""


def with_image(path: Path, work: Callable[[ImageFile.ImageFile], T]) -> T:
    """What `work` makes of an opened image; also of HEIC, and of PNG with much text in it.

    Pillow refuses a PNG whose text would unpack to more than a megabyte, although the pixels are
    apart from it: such a file is read without its text.

    Raises:
        UnfitError: If the file is a camera's raw file, of which Pillow would read the thumbnail.
        OSError: And what else Pillow raises.
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
    """Teach Pillow to read HEIC, if pillow-heif is installed."""
    try:
        plugin = import_module("pillow_heif")
    except ImportError:
        return False
    plugin.register_heif_opener()
    return True


_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def _without_text(path: Path) -> io.BytesIO:
    """A PNG without the chunks that can hold megabytes of something else than pixels."""
    content = path.read_bytes()
    kept, at = [content[:8]], 8
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4])
        if content[at + 4 : at + 8] not in _TEXT:
            kept.append(content[at:end])
        at = end
    return io.BytesIO(b"".join(kept))
