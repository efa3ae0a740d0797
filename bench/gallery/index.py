"""`gallery/index.json` below the results: which pictures there are and what they show."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "gallery"
FILE = "index.json"

ERROR_KEYS = {
    "right": "#d9d9d9",
    "background taken for an object": "#de8f05",
    "object missed": "#0173b2",
    "another class": "#cc78bc",
    "void, not scored": "#ffffff",
}
"""Meaning and colour of the pixels of an error map; seaborn's colour-blind-safe palette."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One image with its pictures."""

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
    """All images of a gallery and where they come from."""

    study: str
    variants: tuple[str, ...]
    seed: int
    preset: str
    split: str
    commit: str
    dirty: bool
    images: tuple[Shown, ...]


def index_text(index: GalleryIndex) -> str:
    """Return the text of an index file."""
    return json.dumps(asdict(index), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_index(root: Path) -> GalleryIndex | None:
    """Return the index of a results folder, or none if there is no gallery.

    Raises:
        BenchError: If it is not an index, or a picture it names is missing.
    """
    path = root / FOLDER / FILE
    if not path.exists():
        return None
    try:
        index = _decode(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BenchError(f"{FOLDER}/{FILE}: not a gallery's index; {_WAY_OUT}") from error
    for image in index.images:
        missing = [name for name in image.files.values() if not (path.parent / name).exists()]
        if missing:
            raise BenchError(f"{FOLDER}: {', '.join(missing)} not found; {_WAY_OUT}")
    return index


_WAY_OUT = "`python -m bench gallery` makes the pictures again"


def _decode(raw: dict[str, Any]) -> GalleryIndex:
    images = tuple(Shown(**{**image, "tags": tuple(image["tags"])}) for image in raw["images"])
    return GalleryIndex(**{**raw, "variants": tuple(raw["variants"]), "images": images})
