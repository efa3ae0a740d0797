"""A plain folder of images with tags: from a CSV, from sub-folders, or from a COCO JSON.

    labels.csv     header `file,labels`; paths relative to the folder of the images; several labels
                   separated by ";" or "|", or by "," inside quotes; lines of one file add up
    sub-folders    root/cat/1.jpg: the first folder is the tag; images above have none
    tags.json      COCO: images, annotations with image_id and category_id, categories

Images that the CSV does not name come last, without tags, so that somebody can count them.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.read.coco import list_coco
from weakclip.data.read.csv_table import read_rows, split_cell, two_cells
from weakclip.data.read.images import image_names
from weakclip.data.read.tagged import (
    BadImage,
    TaggedFiles,
    check_known,
    labels_tensor,
    mask_of,
    relative_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = ("file", "labels")
ADVICE = "one line per image, e.g. 'a.jpg,cat;dog'"
CSV_NAME = "labels.csv"


def list_folder(
    root: Path,
    tags: Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    masks: Path | None = None,
) -> TaggedFiles:
    """A folder of images as tagged files.

    Args:
        root: Folder of the images.
        tags: `.csv` or `.json` file; None takes `root/labels.csv` if there is one, and the
            sub-folders otherwise.
        classes: Class names in label order; None takes the tags that occur, sorted (of a JSON:
            its categories, by id).
        masks: Folder of annotated masks, `a/b.png` for the image `a/b.jpg`.

    Raises:
        FileNotFoundError: If the folder or the file of tags is missing.
        ValueError: If there is no image, the file of tags is empty or malformed, or it has a tag
            that is not among `classes`.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of images")
    if tags is None and (root / CSV_NAME).is_file():
        tags = root / CSV_NAME
    if tags is not None and tags.suffix.lower() == ".json":
        return list_coco(tags, root, classes=classes, masks=masks)
    tagged, found, problems = _from_folders(root, masks) if tags is None else _from_csv(tags)
    for name in image_names(root, skip=masks):
        tagged.setdefault(name, set())
    if not tagged:
        raise ValueError(f"{root}: expected images, found none; give the folder that holds them")
    order = tuple(found if classes is None else classes)
    check_known(found, order)
    return TaggedFiles(
        root=root,
        names=tuple(tagged),
        classes=order,
        image_labels=labels_tensor(list(tagged.values()), order),
        masks=tuple(mask_of(masks, name) for name in tagged),
        problems=problems,
    )


_Tagged = tuple[dict[str, set[str]], list[str], tuple[BadImage, ...]]
"""Tags by name in order, all tags sorted, and what could not be read."""


def _from_folders(root: Path, masks: Path | None) -> _Tagged:
    """The first folder of each path is its tag; a folder without images is a tag without any."""
    left_out = masks and masks.resolve()
    folders = sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and path.resolve() != left_out and not path.name.startswith(".")
    )
    parts = {name: PurePosixPath(name).parts for name in image_names(root, skip=masks)}
    return {name: set(path[:-1][:1]) for name, path in parts.items()}, folders, ()


def _from_csv(path: Path) -> _Tagged:
    tagged: dict[str, set[str]] = {}
    problems: list[BadImage] = []
    for number, row in read_rows(path, HEADER, what="tags", advice=ADVICE):
        where = f"{path.name}:{number}"
        try:
            name, cell = two_cells(row, where)
            name = relative_name(name, where)
        except ValueError as error:
            problems.append(BadImage(where, str(error).removeprefix(f"{where}: ")))
        else:
            tagged.setdefault(name, set()).update(split_cell(cell))
    found = sorted(set().union(*tagged.values()))
    return tagged, found, tuple(problems)
