"""Tags from a CSV in the forms that labelling tools, spreadsheets and data frames give it.

    file,labels                  one line per image; lines of one file add up
    id;image;width;class         named columns anywhere, any delimiter, other columns left out
    file,dog,cow                 a column of 0 and 1 per class
    a.jpg,dog                    no header, one file and one other cell a line

What has one meaning is read, and said; what could have two is refused with the line to write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from weakclip.data.read.csv_table import (
    Column,
    Table,
    check_rows,
    full_row,
    header_error,
    read_table,
    split_cell,
)
from weakclip.data.read.names import did_you_mean, meant_names
from weakclip.data.read.signatures import IMAGE_SUFFIXES
from weakclip.data.read.tagged import BadImage, relative_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

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
"""Columns of numbers that are no class, without blanks, signs and digits at the end."""
SPLITS = frozenset({"train", "val", "valid", "validation", "test"})
YES = frozenset({"1", "1.0", "1,0", "true", "yes", "y", "t", "x"})
NO = frozenset({"0", "0.0", "0,0", "false", "no", "n", "f", ""})
SIGNS = frozenset({"1", "1.0", "-1", "-1.0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TagTable:
    """What a CSV says of images."""

    tags: dict[str, set[str]]
    """Tags by path, in the order of the file."""
    classes: tuple[str, ...]
    """All tags, sorted; with those of one-hot columns that no image has."""
    problems: tuple[BadImage, ...]
    """Lines that say nothing usable."""
    unfit: dict[str, str] = field(default_factory=dict)
    """What they call their file, by file and line."""
    reading: str = ""
    """How the file was understood, if it is not plain `file,labels` in UTF-8; else empty."""


def read_tag_table(path: Path, on_disk: Collection[str]) -> TagTable:
    """The tags of a CSV.

    Args:
        path: The file.
        on_disk: Paths of the images, by which a column of files is known.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no text, or what it means is not plain; says what to write.
    """
    known = frozenset(on_disk)
    read = _read(read_table(path, COLUMNS, what="tags", advice=ADVICE), known)
    meant = meant_names(set(read.unfit.values()) - known, on_disk)
    problems = [
        BadImage(bad.name, f"{bad.reason}; {did_you_mean(name, meant[name])}")
        if (name := read.unfit.get(bad.name)) in meant
        else bad
        for bad in read.problems
    ]
    return replace(read, problems=tuple(problems))


def _read(table: Table, known: frozenset[str]) -> TagTable:
    """The tags of a table, by the form that it has."""
    headless = _headless(table, known)
    if headless is not None:
        return _from_column(headless, *_two_columns(headless, known), "without a header")
    file = _file_column(table, known)
    if file is None:
        raise ValueError(header_error(table.path, COLUMNS, table.header, ADVICE))
    check_rows(table, ADVICE)
    labels = _label_columns(table, file)
    if labels:
        return _from_column(table, file, labels, "")
    classes = _one_hot(table, file)
    if classes:
        return _from_one_hot(table, file, classes)
    rest = [at for at in range(len(table.header)) if at != file]
    if len(rest) == 1 and table.header[rest[0]] and _has_words(table, rest[0]):
        return _from_column(table, file, rest, "")
    raise ValueError(header_error(table.path, COLUMNS, table.header, ADVICE))


def _headless(table: Table, known: Collection[str]) -> Table | None:
    """The table with its first record as a row, if that names an image."""
    if not any(_is_file(cell, known) for cell in table.header):
        return None
    blank = ("",) * len(table.header)
    return replace(table, header=blank, rows=((table.line, table.header), *table.rows))


def _two_columns(table: Table, known: Collection[str]) -> tuple[int, list[int]]:
    """The column of files and the other one of a table without header.

    Raises:
        ValueError: If there are not these two.
    """
    places = range(len(table.header))
    files = [at for at in places if any(_is_file(cell, known) for _, cell in table.column(at))]
    if len(places) != 2 or len(files) != 1:
        raise ValueError(
            f"{table.path}: has no header, and more than a file and its labels on a line; write "
            f"a first line that names the columns, e.g. {_model_header(table, files)!r}"
        )
    return files[0], [1 - files[0]]


def _model_header(table: Table, files: Collection[int]) -> str:
    """A header for a table that has none."""
    first = min(files)
    names = ["file" if at == first else f"column{at + 1}" for at in range(len(table.header))]
    words = [at for at in range(len(names)) if at != first and _has_words(table, at)]
    if words or len(names) > 1:
        names[words[0] if words else len(names) - 1] = "labels"
    return table.delimiter.join(names)


def _file_column(table: Table, known: Collection[str]) -> int | None:
    """The column of files: named so, or the only one whose cells are images."""
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


def _label_columns(table: Table, file: int) -> list[int]:
    """The columns of labels: the one named so, or `label1`, `label2`, ...; none if there are none.

    Raises:
        ValueError: If two columns could be meant.
    """
    named = [at for at in table.named(LABELS) if at != file]
    if len(named) > 1 and len({_base(table.header[at]) for at in named}) > 1:
        named = [at for at in named if _has_words(table, at)] or named
    elif len(named) > 1 and not any(_has_words(table, at) for at in named):
        return []  # columns of 0 and 1
    if len({_base(table.header[at]) for at in named}) > 1:
        names = " and ".join(repr(table.header[at]) for at in named)
        raise ValueError(
            f"{table.path}: columns {names} could both hold the labels; call the right one 'labels'"
        )
    return named


def _one_hot(table: Table, file: int) -> list[int]:
    """The columns of 0 and 1; columns that have neither, or are known to be no class, are left out.

    Raises:
        ValueError: If a column has 0 and 1 and something else.
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


def _no_classes(table: Table) -> set[int]:
    """Columns that are numbers for other purposes; `train` alone is a class (of VOC)."""
    words = {at: _base(cell) for at, cell in enumerate(table.header)}
    splits = set(words.values()) & SPLITS
    return {
        at for at, word in words.items() if word in META or (len(splits) > 1 and word in SPLITS)
    }


def _from_column(table: Table, file: int, labels: list[int], form: str) -> TagTable:
    """Tags that are written in cells."""

    def words(row: tuple[str, ...]) -> Iterable[str]:
        return (word for at in labels for word in split_cell(row[at]))

    parts = table.form() + ([form] if form else [])
    if not form and [cell.casefold() for cell in table.header] != ["file", "labels"]:
        parts.append(f"files from {_named(table, {file})}, labels from {_named(table, labels)}")
        parts += _left_out(table, {file, *labels})
    return _collect(table, file, words, parts)


def _from_one_hot(table: Table, file: int, classes: list[int]) -> TagTable:
    """Tags that are names of columns, also of those that no image has."""

    def words(row: tuple[str, ...]) -> Iterable[str]:
        return (table.header[at] for at in classes if row[at].casefold() in YES)

    parts = [
        *table.form(),
        f"files from {_named(table, {file})}",
        f"classes from columns of 0 and 1 ({_named(table, classes)})",
        *_left_out(table, {file, *classes}),
    ]
    read = _collect(table, file, words, parts)
    return replace(read, classes=tuple(sorted({table.header[at] for at in classes})))


def _collect(
    table: Table,
    file: int,
    words: Callable[[tuple[str, ...]], Iterable[str]],
    parts: Sequence[str],
) -> TagTable:
    """The tags of every row."""
    tags: dict[str, set[str]] = {}
    problems: list[BadImage] = []
    unfit: dict[str, str] = {}
    for line, row in table.rows:
        where = f"{table.path.name}:{line}"
        try:
            cells = full_row(table, row, where)
            _check_lines(table, cells, where)
            name = relative_name(cells[file], where)
        except ValueError as error:
            problems.append(BadImage(where, str(error).removeprefix(f"{where}: ")))
            if file < len(row):
                unfit[where] = row[file]
        else:
            tags.setdefault(name, set()).update(words(cells))
    return TagTable(
        tags=tags,
        classes=tuple(sorted(set().union(*tags.values()))),
        problems=tuple(problems),
        unfit=unfit,
        reading=f"{table.path.name}: read {', '.join(parts)}" if parts else "",
    )


def _check_lines(table: Table, cells: Iterable[str], where: str) -> None:
    """Raise a ValueError if a cell has swallowed a line, as one with a late quote does."""
    for cell in cells:
        _, *more = cell.splitlines() or [""]
        if any(table.delimiter in line for line in more):
            raise ValueError(
                f"{where}: a quote is opened here and closed {len(more)} lines below, so that "
                "these are no lines of their own; close it on its line"
            )


def _is_file(cell: str, known: Collection[str]) -> bool:
    return cell in known or cell.casefold().endswith(IMAGE_SUFFIXES)


def _has_words(table: Table, at: int) -> bool:
    """Whether a column has letters somewhere."""
    return any(any(letter.isalpha() for letter in cell) for _, cell in table.column(at))


def _base(cell: str) -> str:
    """A name without blanks, signs, and the number at its end."""
    return re.sub(r"[\W_]+", "", cell).casefold().rstrip("0123456789")


def _named(table: Table, places: Iterable[int]) -> str:
    return ", ".join(repr(table.header[at]) for at in places)


def _left_out(table: Table, used: Collection[int]) -> list[str]:
    """The columns that are not used, in words."""
    rest = [at for at in range(len(table.header)) if at not in used and table.header[at]]
    return [f"not used: {_named(table, rest)}"] if rest else []
