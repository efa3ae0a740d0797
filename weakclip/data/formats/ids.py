"""Matching of files and images by name, by the conventions of other projects.

A name is a path with slashes, without suffix. An image of COCO is called
`COCO_train2014_000000000009`, `000000000009` or `9`, depending on the program. These names match;
all others must be equal.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from weakclip.data.formats.arrays import read_plain
from weakclip.data.read.csv_table import full_row, header_error, read_table
from weakclip.data.read.csv_text import decoded
from weakclip.data.read.signatures import IMAGE_SUFFIXES
from weakclip.data.read.tag_columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_COCO = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{1,12})")
_KNOWN_SUFFIXES = (*IMAGE_SUFFIXES, ".npy", ".npz")


def without_suffix(name: str) -> str:
    """A path with slashes, without the suffix of an image or map file.

    Example:
        >>> without_suffix("cats/a.b.JPG"), without_suffix("a.b")
        ('cats/a.b', 'a.b')
    """
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in _KNOWN_SUFFIXES else str(path)


def image_key(name: str) -> str:
    """A key that is equal for all names of one image; folders are ignored.

    Example:
        >>> image_key("train2014/COCO_train2014_000000000009.jpg"), image_key("9.png")
        ('9', '9')
        >>> image_key("JPEGImages/2007_000032.jpg")
        '2007_000032'
    """
    stem = PurePosixPath(without_suffix(name)).name
    match = _COCO.fullmatch(stem)
    return str(int(match[1])) if match else stem


@dataclass(frozen=True, slots=True, eq=False)
class NamedFiles:
    """The files of a folder, to be found by the names of images."""

    folder: Path
    by_name: Mapping[str, Sequence[Path]]
    """Files by their path relative to the folder, without suffix."""
    by_key: Mapping[str, Sequence[Path]]
    """Files by `image_key`."""

    @classmethod
    def of(cls, folder: Path, suffixes: Sequence[str]) -> NamedFiles:
        """List a folder and its sub-folders.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If it contains no file with one of the suffixes.
        """
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")
        by_name: dict[str, list[Path]] = defaultdict(list)
        by_key: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in suffixes and not path.name.startswith("."):
                name = path.relative_to(folder).as_posix()
                by_name[without_suffix(name)].append(path)
                by_key[image_key(name)].append(path)
        if not by_name:
            raise ValueError(
                f"{folder}: no file ends in {' or '.join(suffixes)}; give their folder"
            )
        return cls(folder, dict(by_name), dict(by_key))

    def find(self, name: str) -> Path | None:
        """The file of an image: the one with the same path, or else with the same key.

        Raises:
            ValueError: If there are several.
        """
        found = self.by_name.get(without_suffix(name)) or self.by_key.get(image_key(name), ())
        if len(found) > 1:
            names = ", ".join(path.relative_to(self.folder).as_posix() for path in found)
            raise ValueError(f"{self.folder}: expected one file for {name!r}, got {names}")
        return found[0] if found else None

    def surplus(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names, without suffix, of the files that belong to none of the images."""
        wanted = {image_key(name) for name in names}
        return tuple(name for name in self.by_name if image_key(name) not in wanted)


def read_ids(path: Path) -> tuple[str, ...]:
    """Names of the images in a list, in order, without suffix.

    Args:
        path: A text file with one image per line, or a CSV with the header `file,labels`. Of a line
            only the first word is used: an id; a path (`psa`'s lists have the mask as a second
            word), absolute paths being reduced to the file name; or an id followed by class numbers
            (CLIP-ES's COCO lists).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not text, names no image, or names one twice.
    """
    if path.suffix.lower() == ".csv":
        file, advice = COLUMNS[0], "one line per image"
        table = read_table(path, (file,), what="images", advice=advice)
        places = table.named(file)
        if len(places) != 1:
            raise ValueError(header_error(path, (file,), table.header, advice))
        words = [full_row(table, row, f"{path.name}:{line}")[places[0]] for line, row in table.rows]
    else:
        words = [
            line.split()[0] for line in decoded(path, "images")[0].splitlines() if line.strip()
        ]
    names = [without_suffix(PurePosixPath(word).name if word[0] == "/" else word) for word in words]
    if not names:
        raise ValueError(f"{path}: expected one image a line, got an empty list")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{path}: lists {name!r} {count} times; remove the repetition")
    return tuple(names)


def read_tag_file(path: Path) -> dict[str, NDArray[np.bool_]]:
    """Tags in a `cls_labels.npy`, the format used by most projects.

    Args:
        path: A pickled dict from names to vectors of F classes without background. Integer names
            are IRN's: 2007000032 is `2007_000032`.

    Returns:
        (F,), bool, by `image_key`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or does not contain such a dict. An array without names
            (CLIMS's and ReCAM's for COCO) is rejected: its order refers to a list not in the file.
    """
    content = read_plain(path)
    if not isinstance(content, dict) or not content:
        raise ValueError(
            f"{path}: expected a dict from image to classes, got {type(content).__name__}; an "
            "array without names fits one list only: make a labels.csv of it with that list"
        )
    tags: dict[str, NDArray[np.bool_]] = {}
    for name, vector in content.items():
        if not isinstance(vector, np.ndarray) or vector.ndim != 1:
            raise ValueError(f"{path}: {name!r}: expected a vector of classes")
        text = f"{str(name)[:4]}_{str(name)[4:]}" if isinstance(name, int) else name
        tags[image_key(text)] = vector.astype(np.float64) > 0
    return tags
