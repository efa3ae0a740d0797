"""The location and layout of a data set as one value, and a function that opens it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from weakclip.data.read.coco import list_coco
from weakclip.data.read.csv_text import decoded
from weakclip.data.read.folder import CSV_NAME, list_folder
from weakclip.data.read.images import image_names
from weakclip.data.read.mask_names import annotation_folders, find_masks
from weakclip.data.read.names import meant_names
from weakclip.data.read.signatures import IMAGE_SUFFIXES
from weakclip.data.read.tag_table import read_tag_table
from weakclip.data.read.voc import VOC_CLASSES, list_voc, voc_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weakclip.data.read.tagged import TaggedFiles

Layout = Literal["voc", "coco", "pairs", "folder"]
"""`pairs`: a folder with `images/` and a folder of masks or `labels.csv`."""


IMAGES, CLASSES_NAME = "images", "classes.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A data set as given on a command line; None selects the default of its layout."""

    root: Path
    """VOC's root, COCO's root (or a folder of its images), the parent of `images`, or a folder of
    images."""
    split: str | None = None
    """A list of VOC, or a split of COCO, e.g. train2014."""
    tags: Path | None = None
    """A CSV or COCO JSON, for layouts that do not define where tags are."""
    masks: Path | None = None
    """Folder of annotated masks; None: VOC's own, or the only sub-folder with masks."""
    classes: tuple[str, ...] | None = None
    """Class names in label order; None: VOC's, those in a `classes.txt` next to `images`, or the
    tags."""


def layout_of(root: Path) -> Layout:
    """The layout of `root`, inferred from its sub-folders.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of images")
    if (root / "JPEGImages").is_dir():
        return "voc"
    if any((root / "annotations").glob("instances_*.json")):
        return "coco"
    images = root / IMAGES
    known = (root / CSV_NAME).is_file() or any(annotation_folders(root))
    return "pairs" if images.is_dir() and known and not _has_pictures(root) else "folder"


def open_place(place: Place, layout: Layout | None = None) -> TaggedFiles:
    """The tagged images of a place; its layout is inferred by `layout_of` unless it is given.

    Raises:
        FileNotFoundError: If a part of the layout is missing.
        ValueError: If a list, a split or the tags are malformed.
    """
    files = _OPENERS[layout or layout_of(place.root)](place)
    gone = [name for name in files.names if not os.path.lexists(files.root / name)]
    if not gone or files.meant:
        return files
    return replace(files, meant=meant_names(gone, image_names(files.root)))


def _open_voc(place: Place) -> TaggedFiles:
    """VOC with its own masks, or with masks in another folder."""
    files = list_voc(place.root, place.split, classes=place.classes or VOC_CLASSES)
    if place.masks is None:
        return files
    found = find_masks(place.masks, files.names)
    return replace(files, masks=found.paths, mask_root=place.masks, reading=found.reading)


def _open_coco(place: Place) -> TaggedFiles:
    """Images and annotations in COCO's folders, or at `root` and `tags`."""
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
    masks = place.masks or _own_masks(place.root)
    return list_folder(place.root, place.tags, classes=place.classes, masks=masks)


def _open_pairs(place: Place) -> TaggedFiles:
    """`images/` with masks, tags and classes; paths in a table are relative to it or its parent."""
    tags = place.tags or (place.root / CSV_NAME if (place.root / CSV_NAME).is_file() else None)
    classes, listed = place.classes, place.root / CLASSES_NAME
    if classes is None and listed.is_file():
        classes = without_background(read_classes(listed))
    images = place.root / IMAGES
    if tags is not None and tags.suffix.lower() == ".csv":
        named = read_tag_table(tags, image_names(images)).tags
        if any((place.root / name).is_file() for name in named):
            images = place.root
    masks = place.masks or _own_masks(place.root)
    files = list_folder(images, tags, classes=classes, masks=masks)
    line = f"{masks.name}/: annotated masks, no images" if masks else ""
    if line and line not in files.reading:
        files = replace(files, reading=(line, *files.reading))
    return files


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in a file, one per line; blank lines are skipped.

    If every line begins with its label, as in the `classes.txt` of a run, the label is removed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it contains no name, or a name twice.
    """
    lines = decoded(path, "classes")[0].splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    numbered = [name.partition(" ") for name in names]
    if [label for label, _, _ in numbered] == [str(label) for label in range(len(names))]:
        names = tuple(name.strip() or label for label, _, name in numbered)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{path}: expected different class names, one a line, got {len(names)}")
    return names


def without_background(names: tuple[str, ...]) -> tuple[str, ...]:
    """Class names without a leading background, with which many lists begin.

    Example:
        >>> without_background(("__background__", "cat"))
        ('cat',)
    """
    return names[1:] if names[0].strip("_").lower() == "background" else names


def foreground_classes(given: str | None, masks: Path) -> tuple[str, ...] | None:
    """Class names in a file, or in the `classes.txt` in `masks` or above it; None if there is none.

    Raises:
        FileNotFoundError: If the given file is missing.
        ValueError: As for `read_classes`.
    """
    places = [masks / CLASSES_NAME, masks.parent / CLASSES_NAME]
    path = Path(given) if given else next(filter(Path.is_file, places), None)
    return None if path is None else without_background(read_classes(path))


def images_of(place: Place) -> tuple[Path, tuple[str, ...]]:
    """A folder and the paths of its images, with or without tags.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a split is unknown, or required.
    """
    root = place.root
    match layout_of(root):
        case "voc" if place.split is not None:
            return root / "JPEGImages", tuple(f"{one}.jpg" for one in voc_ids(root, place.split))
        case "voc":
            root = root / "JPEGImages"
        case "coco":
            files = _open_coco(place)
            return files.root, files.names
        case "pairs":
            root = root / IMAGES
    return root, image_names(root, skip=annotation_folders(root))


def _own_masks(root: Path) -> Path | None:
    """The only sub-folder with annotated masks; None if there is none or several."""
    found = annotation_folders(root)
    return found[0] if len(found) == 1 else None


def _has_pictures(root: Path) -> bool:
    """Whether a folder directly contains images."""
    return any(path.name.lower().endswith(IMAGE_SUFFIXES) for path in root.iterdir())


_OPENERS: Mapping[Layout, Callable[[Place], TaggedFiles]] = {
    "voc": _open_voc,
    "coco": _open_coco,
    "pairs": _open_pairs,
    "folder": _open_folder,
}
