"""`gallery.zip` in the results folder: pictures, and their description in `index.json`.

A folder `gallery`, as written by earlier versions, is read as well.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias

from pydantic import ConfigDict, TypeAdapter, ValidationError

from bench.errors import BenchError
from bench.runs.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Folder: TypeAlias = Path | zipfile.Path

FOLDER, PACKED = "gallery", "gallery.zip"
FILE = "index.json"
_TIME = (1980, 1, 1, 0, 0, 0)
_STRICT = ConfigDict(extra="forbid", strict=True)

ERROR_KEYS = {
    "right": "#d9d9d9",
    "background taken for an object": "#de8f05",
    "object missed": "#0173b2",
    "another class": "#cc78bc",
    "void, not scored": "#ffffff",
}
"""Meaning of a pixel of an error map -> colour, from seaborn's colour-blind-safe palette."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One image of the gallery and its pictures."""

    __pydantic_config__ = _STRICT
    name: str
    why: str
    """`typical` or `worst`."""
    tags: tuple[str, ...]
    scores: dict[str, float]
    """Variant -> mIoU of this image, over the classes present or predicted in it."""
    files: dict[str, str]
    """`image`, `cam`, `seed`, `gt`, `mask-<variant>` and `error-<variant>` -> file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryIndex:
    """All images of a gallery and their provenance."""

    __pydantic_config__ = _STRICT
    study: str
    variants: tuple[str, ...]
    seed: int
    preset: str
    split: str
    commit: str
    dirty: bool
    images: tuple[Shown, ...]


def index_text(index: GalleryIndex) -> str:
    """Return the JSON text of an index."""
    return json.dumps(asdict(index), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def folder_of(root: Path) -> Folder:
    """Return the gallery of a results folder as a path-like folder; it may not exist.

    Raises:
        BenchError: If the zip file is damaged.
    """
    path = root / PACKED
    try:
        if not path.exists():
            return root / FOLDER
        return zipfile.Path(zipfile.ZipFile(BytesIO(path.read_bytes())))
    except (OSError, zipfile.BadZipFile) as error:
        raise BenchError(f"{PACKED}: cannot be read ({error}); {_WAY_OUT}") from error


def write_gallery(root: Path, index: GalleryIndex, pictures: Mapping[str, bytes]) -> None:
    """Write a gallery to a results folder, replacing an older one."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:  # not compressed: pictures are compressed already
        for name, content in {FILE: index_text(index).encode(), **pictures}.items():
            file.writestr(zipfile.ZipInfo(name, _TIME), content)
    write_atomically(root / PACKED, buffer.getvalue())
    shutil.rmtree(root / FOLDER, ignore_errors=True)


def pack_gallery(root: Path) -> None:
    """Pack a gallery folder of an earlier version into one file."""
    index = read_index(root)
    if index is not None and not (root / PACKED).exists():
        names = sorted(name for image in index.images for name in image.files.values())
        write_gallery(root, index, {name: (root / FOLDER / name).read_bytes() for name in names})


def read_index(root: Path) -> GalleryIndex | None:
    """Return the index of the gallery of a results folder, or None if there is no gallery.

    Raises:
        BenchError: If the index is not valid, or a picture that it names is missing.
    """
    folder = folder_of(root)
    path = folder / FILE
    if not path.exists():
        return None
    try:
        index = TypeAdapter(GalleryIndex).validate_json(path.read_bytes())
    except ValidationError as error:
        raise BenchError(f"{FOLDER}/{FILE}: not a gallery's index; {_WAY_OUT}") from error
    for image in index.images:
        missing = [name for name in image.files.values() if not (folder / name).exists()]
        if missing:
            raise BenchError(f"{FOLDER}: {', '.join(missing)} not found; {_WAY_OUT}")
    return index


_WAY_OUT = "`python -m bench gallery` makes the pictures again"
