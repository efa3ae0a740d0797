"""Where a data set lies and in which layout: one value, one function that opens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from weakclip.data.read.coco import list_coco
from weakclip.data.read.folder import list_folder
from weakclip.data.read.voc import VOC_CLASSES, list_voc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from weakclip.data.read.tagged import TaggedFiles

Layout = Literal["voc", "coco", "folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A data set as somebody names it on a command line; None is what the layout has by itself."""

    root: Path
    """VOC's root, COCO's root (or a folder of its images), or a folder of images."""
    split: str | None = None
    """A list of VOC, or e.g. train2014 of COCO."""
    tags: Path | None = None
    """A CSV or COCO JSON, for layouts that have no place of their own for tags."""
    masks: Path | None = None
    """Folder of annotated masks; VOC knows its own."""
    classes: tuple[str, ...] | None = None
    """Class names in label order."""


def layout_of(root: Path) -> Layout:
    """The layout that the sub-folders of `root` suggest.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    if (root / "JPEGImages").is_dir():
        return "voc"
    return "coco" if any((root / "annotations").glob("instances_*.json")) else "folder"


def open_place(place: Place, layout: Layout | None = None) -> TaggedFiles:
    """The tagged images of a place.

    Args:
        place: Where they lie.
        layout: None asks `layout_of`.

    Raises:
        FileNotFoundError: If something that the layout needs is missing.
        ValueError: If a list, a split or the tags are malformed.
    """
    return _OPENERS[layout or layout_of(place.root)](place)


def _open_voc(place: Place) -> TaggedFiles:
    return list_voc(place.root, place.split, classes=place.classes or VOC_CLASSES)


def _open_coco(place: Place) -> TaggedFiles:
    """Images and annotations in COCO's folders, or wherever `tags` and `root` are."""
    annotations = place.tags or _annotations(place)
    split = annotations.stem.removeprefix("instances_")
    folders = (place.root / split, place.root / "images" / split, place.root)
    images = next(folder for folder in folders if folder.is_dir())
    return list_coco(annotations, images, classes=place.classes, masks=place.masks)


def _annotations(place: Place) -> Path:
    folder = place.root / "annotations"
    found = sorted(folder.glob(f"instances_{place.split or '*'}.json"))
    if len(found) != 1:
        every = sorted(
            path.stem.removeprefix("instances_") for path in folder.glob("instances_*.json")
        )
        raise ValueError(
            f"{folder}: expected one instances_{place.split or '*'}.json, got {len(found)}; "
            f"choose a split. Known: {', '.join(every) or 'none'}"
        )
    return found[0]


def _open_folder(place: Place) -> TaggedFiles:
    return list_folder(place.root, place.tags, classes=place.classes, masks=place.masks)


_OPENERS: Mapping[Layout, Callable[[Place], TaggedFiles]] = {
    "voc": _open_voc,
    "coco": _open_coco,
    "folder": _open_folder,
}
