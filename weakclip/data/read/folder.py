"""A folder of images with tags from a CSV, from sub-folders, or from a COCO JSON.

    labels.csv     header `file,labels`; paths relative to the image folder; several labels
                   separated by ";" or "|", or by "," inside quotes; several lines of one file are
                   combined; other forms of tables: `weakclip.data.read.tag_table`
    sub-folders    root/cat/1.jpg: the first folder is the tag; images directly in root have none
    tags.json      COCO: images, annotations with image_id and category_id, categories

Sub-folders with annotated masks are left out and reported. A tree of VOC or COCO without tags of
its own is rejected, because its folders are not classes.

Images that the CSV does not name come last, without tags, so that they are counted.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.read.coco import list_coco
from weakclip.data.read.images import image_names
from weakclip.data.read.left_out import left_out
from weakclip.data.read.mask_names import annotation_folders, find_masks
from weakclip.data.read.names import meant_names
from weakclip.data.read.tag_table import TagTable, read_tag_table
from weakclip.data.read.tagged import TaggedFiles, check_known, labels_array

if TYPE_CHECKING:
    from collections.abc import Sequence

CSV_NAME = "labels.csv"
_ONE_FOLDER = "{}: is the folder of the images; put the masks into one of their own"


def list_folder(
    root: Path | str,
    tags: Path | str | None = None,
    *,
    classes: Sequence[str] | None = None,
    masks: Path | None = None,
) -> TaggedFiles:
    """List a folder of images with their tags.

    Args:
        root: Folder of the images.
        tags: `.csv` or `.json` file; None: `root/labels.csv` if it exists, else the sub-folders.
        classes: Class names in label order; None: the tags that occur, sorted (for a JSON: its
            categories, by id).
        masks: Folder of annotated masks, `a/b.png` for the image `a/b.jpg`.

    Raises:
        FileNotFoundError: If the folder or the tag file is missing.
        ValueError: If there is no image, the tag file is empty or malformed, or a tag is not among
            `classes`.
    """
    root, tags = Path(root), None if tags is None else Path(tags)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of images")
    if tags is None and (root / CSV_NAME).is_file():
        tags = root / CSV_NAME
    if tags is not None and tags.suffix.lower() == ".json":
        return list_coco(tags, root, classes=classes, masks=masks)
    if masks is not None and masks.resolve() == root.resolve():
        raise ValueError(_ONE_FOLDER.format(masks))
    if tags is None and (known := known_tree(root)):
        raise ValueError(f"{root}: {known}")
    annotations = annotation_folders(root)
    skip = (*annotations, *filter(None, (masks,)))
    on_disk = image_names(root, skip=skip)
    table = _from_folders(root, skip, on_disk) if tags is None else read_tag_table(tags, on_disk)
    tagged = {name: table.tags.get(name, set()) for name in (*table.tags, *on_disk)}
    aside = left_out(root, tagged.keys(), skip=skip)
    if not tagged:
        advice = f"; {aside[0].name} {aside[0].reason}" if aside else ""
        raise ValueError(
            f"{root}: expected images, found none; give the folder that holds them{advice}"
        )
    order = tuple(table.classes if classes is None else classes)
    check_known(table.classes, order)
    found = find_masks(masks, tuple(tagged))
    return TaggedFiles(
        root=root,
        names=tuple(tagged),
        classes=order,
        tags=labels_array(list(tagged.values()), order),
        masks=found.paths,
        problems=table.problems,
        mask_root=masks,
        left_out=aside,
        meant=meant_names(tagged.keys() - set(on_disk), on_disk),
        reading=(
            *(f"{path.name}/: annotated masks, no images" for path in annotations),
            *filter(None, (table.reading,)),
            *found.reading,
        ),
    )


def list_masked(root: Path, masks: Path, classes: Sequence[str] = ()) -> TaggedFiles:
    """A folder of images with masks in another folder, `a/b.png` for `a/b.jpg`, without tags.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If both are the same folder, or there is no image.
    """
    for folder, what in ((root, "images"), (masks, "masks")):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder of {what}")
    if masks.resolve() == root.resolve():
        raise ValueError(_ONE_FOLDER.format(masks))
    names = image_names(root, skip=(masks, *annotation_folders(root)))
    if not names:
        raise ValueError(f"{root}: expected images, found none; give the folder that holds them")
    found = find_masks(masks, names)
    return TaggedFiles(
        root=root,
        names=tuple(names),
        classes=tuple(classes),
        tags=labels_array([()] * len(names), classes),
        masks=found.paths,
        mask_root=masks,
        reading=found.reading,
    )


def known_tree(root: Path) -> str:
    """What a tree of VOC or COCO is and how to use it, as text; empty for any other folder."""
    below = (path for depth in ("", "*/", "*/*/") for path in root.glob(f"{depth}JPEGImages"))
    voc = sorted(path.parent for path in below if path.is_dir())
    if voc:
        return (
            f"is a tree of VOC, whose folders are no classes; give {voc[0]} to a command, or open "
            "it by `weakclip.data.read.layouts.open_place`"
        )
    if (root / "images").is_dir() and (masks := annotation_folders(root)):
        return (
            f"has images/ and their masks ({masks[0].name}/), which are no classes; give images/ "
            "with a table of tags, or open it by `weakclip.data.read.layouts.open_place`"
        )
    if any((root / "annotations").glob("instances_*.json")):
        return (
            "is a tree of COCO, whose folders are no classes; give it to a command with --split, "
            "or the folder of the images with the JSON as tags"
        )
    return ""


def _from_folders(root: Path, skip: Sequence[Path], on_disk: Sequence[str]) -> TagTable:
    """Tags by the first folder of each path; a folder without images is a class without images."""
    left_out = {path.resolve() for path in skip}
    folders = sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and path.resolve() not in left_out and not path.name.startswith(".")
    )
    tags = {name: set(PurePosixPath(name).parts[:-1][:1]) for name in on_disk}
    return TagTable(tags=tags, classes=tuple(folders), problems=())
