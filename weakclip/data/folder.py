"""A plain folder of images with tags: from a CSV, from sub-folders, or from a COCO JSON.

    labels.csv     header `file,labels`; paths relative to the folder of the images; several labels
                   separated by ";" or "|", or by "," inside quotes; lines of one file add up
    sub-folders    root/cat/1.jpg: the first folder is the tag; images above have none
    tags.json      COCO: images, annotations with image_id and category_id, categories

Images that the CSV does not name come last, without tags, so that somebody can count them.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.coco import list_coco
from weakclip.data.images import image_names
from weakclip.data.tagged import BadImage, TaggedFiles, labels_tensor, mask_of, relative_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADER = ["file", "labels"]
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
        return list_coco(tags, root, masks=masks)
    tagged, found, problems = _from_folders(root, masks) if tags is None else _from_csv(tags)
    for name in image_names(root, skip=masks):
        tagged.setdefault(name, set())
    if not tagged:
        raise ValueError(f"{root}: expected images, found none; give the folder that holds them")
    order = tuple(found if classes is None else classes)
    _check_known(found, order)
    return TaggedFiles(
        root=root,
        names=tuple(tagged),
        classes=order,
        image_labels=labels_tensor(list(tagged.values()), order),
        masks=tuple(mask_of(masks, name) for name in tagged),
        problems=problems,
    )


def split_labels(cell: str) -> frozenset[str]:
    """The tags of a cell, separated by ";", "|" or ",".

    Example:
        >>> sorted(split_labels(" dog; traffic light|cat,,"))
        ['cat', 'dog', 'traffic light']
    """
    return frozenset(filter(None, (word.strip() for word in re.split("[;|,]", cell))))


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
    for number, row in _rows(path):
        where = f"{path.name}:{number}"
        try:
            name, cell = _fields(row, where)
        except ValueError as error:
            problems.append(BadImage(where, str(error).removeprefix(f"{where}: ")))
        else:
            tagged.setdefault(name, set()).update(split_labels(cell))
    found = sorted(set().union(*tagged.values()))
    return tagged, found, tuple(problems)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row below the header that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), start=1))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file of tags") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV in UTF-8 ({error}); save it again as one") from error
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    if header != HEADER:
        raise ValueError(
            f"{path}: expected the header {','.join(HEADER)!r}, got {','.join(header)!r}; "
            "write one line per image below it, e.g. 'a.jpg,cat;dog'"
        )
    body = [(number, row) for number, row in rows[1:] if any(cell.strip() for cell in row)]
    if not body:
        raise ValueError(f"{path}: no line below the header; write e.g. 'a.jpg,cat;dog'")
    yield from body


def _fields(row: Sequence[str], where: str) -> tuple[str, str]:
    """Confined file name and labels cell of a row."""
    if len(row) != len(HEADER):
        raise ValueError(
            f"{where}: expected 2 cells, got {len(row)}; separate labels with ';', "
            "quote a name that has a comma"
        )
    return relative_name(row[0].strip(), where), row[1]


def _check_known(found: Sequence[str], classes: Sequence[str]) -> None:
    unknown = [tag for tag in found if tag not in classes]
    if unknown:
        near = difflib.get_close_matches(unknown[0], classes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"unknown tag {unknown[0]!r}{hint} Known: {', '.join(sorted(classes))}. "
            "Correct it, or add it to the classes"
        )
