"""Finds the columns of a table that contain image files, labels, or one class each."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from weakclip.data.read.csv_table import Column, Table
from weakclip.data.read.signatures import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Collection

FILE = Column(
    name="file",
    others=frozenset({
        "filename", "filepath", "filenames", "files", "path", "paths", "image", "images", "img",
        "imagename", "imagepath", "imagefile", "imagefilename", "imgname", "imgpath", "imgfile",
        "name", "photo", "picture", "imageid", "imgid", "id", "uri", "url",
    }),
)  # fmt: skip
LABELS = Column(
    name="labels",
    others=frozenset({
        "label", "class", "classes", "tag", "tags", "category", "categories", "classname",
        "classnames", "classlabel", "labelname", "labelnames", "categoryname", "imagelabel",
        "imagelabels", "imagetags", "keyword", "keywords", "object", "objects", "objectname",
        "species", "breed",
    }),
)  # fmt: skip
COLUMNS = (FILE, LABELS)
ADVICE = "one line per image, e.g. 'a.jpg,cat;dog'"
META = frozenset({
    "", "id", "index", "idx", "no", "nr", "number", "row", "width", "height", "size", "channels",
    "split", "fold", "set", "subset", "istrain", "isval", "istest", "isvalid", "unnamed",
    "imageid", "filesize", "classid", "labelid", "categoryid", "x", "y", "w", "h", "xmin", "ymin",
    "xmax", "ymax", "score", "confidence", "count", "area",
})  # fmt: skip
"""Numeric columns that are not classes, without blanks, punctuation and trailing digits."""
SPLITS = frozenset({"train", "val", "valid", "validation", "test"})
YES = frozenset({"1", "1.0", "1,0", "true", "yes", "y", "t", "x"})
NO = frozenset({"0", "0.0", "0,0", "false", "no", "n", "f", ""})
SIGNS = frozenset({"1", "1.0", "-1", "-1.0"})


def headless(table: Table, known: Collection[str]) -> Table | None:
    """The table with its first record as a row, if that names an image; else None."""
    if not any(_is_file(cell, known) for cell in table.header):
        return None
    blank = ("",) * len(table.header)
    return replace(table, header=blank, rows=((table.line, table.header), *table.rows))


def two_columns(table: Table, known: Collection[str]) -> tuple[int, list[int]]:
    """The file column and the other column of a table without a header.

    Raises:
        ValueError: If the table does not consist of these two.
    """
    places = range(len(table.header))
    files = [at for at in places if any(_is_file(cell, known) for _, cell in table.column(at))]
    if len(places) != 2 or len(files) != 1:
        raise ValueError(
            f"{table.path}: has no header, and more than a file and its labels on a line; write "
            f"a first line that names the columns, e.g. {_model_header(table, files)!r}"
        )
    return files[0], [1 - files[0]]


def file_column(table: Table, known: Collection[str]) -> int | None:
    """The file column: the one named so, or the only one whose cells are images; else None."""
    named = table.named(FILE)
    if len(named) == 1:
        return named[0]
    shares = {
        at: tuple(
            sum(holds(cell) for _, cell in table.column(at))
            for holds in (known.__contains__, lambda cell: _is_file(cell, ()))
        )
        for at in named or range(len(table.header))
    }
    most = max(shares.values(), default=(0, 0))
    best = [at for at, share in shares.items() if share == most and any(most)]
    return best[0] if len(best) == 1 else None


def label_columns(table: Table, file: int) -> list[int]:
    """The label columns: the one named so, or `label1`, `label2`, ...; empty if there are none.

    Raises:
        ValueError: If it is ambiguous which column contains the labels.
    """
    named = [at for at in table.named(LABELS) if at != file]
    if len(named) > 1 and len({_base(table.header[at]) for at in named}) > 1:
        named = [at for at in named if has_words(table, at)] or named
    elif len(named) > 1 and not any(has_words(table, at) for at in named):
        return []  # columns of 0 and 1
    if len({_base(table.header[at]) for at in named}) > 1:
        names = " and ".join(repr(table.header[at]) for at in named)
        raise ValueError(
            f"{table.path}: columns {names} could both hold the labels; call the right one 'labels'"
        )
    return named


def class_columns(table: Table, file: int) -> list[int]:
    """The columns of 0 and 1; other columns, and columns known not to be classes, are left out.

    Raises:
        ValueError: If a column contains 0 or 1 and other values.
    """
    found = []
    for at in sorted({*range(len(table.header))} - {file} - _no_classes(table)):
        cells = [(line, cell) for line, cell in table.column(at) if cell]
        values = {cell.casefold() for _, cell in cells}
        if cells and (values <= YES | NO or values <= SIGNS):
            found.append(at)
        elif values & (YES | NO):
            line, cell = next(one for one in cells if one[1].casefold() not in YES | NO)
            raise ValueError(
                f"{table.path}:{line}: column {table.header[at]!r} has 0 and 1, and {cell!r}; "
                f"write 1 or 0, or a file with the header 'file,labels' and {ADVICE}"
            )
    return found


def _model_header(table: Table, files: Collection[int]) -> str:
    """A proposed header for a table that has none."""
    first = min(files)
    names = ["file" if at == first else f"column{at + 1}" for at in range(len(table.header))]
    words = [at for at in range(len(names)) if at != first and has_words(table, at)]
    if words or len(names) > 1:
        names[words[0] if words else len(names) - 1] = "labels"
    return table.delimiter.join(names)


def _no_classes(table: Table) -> set[int]:
    """Columns that are not classes; `train` is one of VOC's classes unless other splits occur."""
    words = {at: _base(cell) for at, cell in enumerate(table.header)}
    splits = set(words.values()) & SPLITS
    return {
        at for at, word in words.items() if word in META or (len(splits) > 1 and word in SPLITS)
    }


def _is_file(cell: str, known: Collection[str]) -> bool:
    return cell in known or cell.casefold().endswith(IMAGE_SUFFIXES)


def has_words(table: Table, at: int) -> bool:
    """Whether any cell of a column contains a letter."""
    return any(any(letter.isalpha() for letter in cell) for _, cell in table.column(at))


def _base(cell: str) -> str:
    """A name without blanks, punctuation and trailing digits, in lower case."""
    return re.sub(r"[\W_]+", "", cell).casefold().rstrip("0123456789")
