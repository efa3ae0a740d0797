"""Tags from a CSV in the forms used by labelling tools, spreadsheets and data frames.

    file,labels                  one line per image; several lines of one file are combined
    id;image;width;class         named columns in any order, any delimiter, other columns ignored
    file,dog,cow                 one column of 0 and 1 per class
    a.jpg,dog                    no header; a file and one other cell per line

An unambiguous table is read, and its interpretation is reported. An ambiguous one is rejected with
the line to add.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from weakclip.data.read.csv_table import (
    Table,
    check_rows,
    full_row,
    header_error,
    read_table,
    split_cell,
)
from weakclip.data.read.names import did_you_mean, meant_names
from weakclip.data.read.tag_columns import (
    ADVICE,
    COLUMNS,
    YES,
    class_columns,
    file_column,
    has_words,
    headless,
    label_columns,
    two_columns,
)
from weakclip.data.read.tagged import BadImage, relative_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TagTable:
    """Tags of images in a CSV."""

    tags: dict[str, set[str]]
    """Tags by path, in the order of the file."""
    classes: tuple[str, ...]
    """All tags, sorted; for one-hot columns also those of no image."""
    problems: tuple[BadImage, ...]
    """Lines without usable content."""
    unfit: dict[str, str] = field(default_factory=dict)
    """For each of these lines (file:line), the file name it contains."""
    reading: str = ""
    """How the file was interpreted, if it is not plain `file,labels` in UTF-8; else empty."""


def read_tag_table(path: Path, on_disk: Collection[str]) -> TagTable:
    """Read the tags of a CSV; the file column is recognised by the images on disk.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not text, or is ambiguous; the message says what to write.
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
    """The tags of a table, according to its form."""
    bare = headless(table, known)
    if bare is not None:
        return _from_column(bare, *two_columns(bare, known), "without a header")
    file = file_column(table, known)
    if file is None:
        raise ValueError(header_error(table.path, COLUMNS, table.header, ADVICE))
    check_rows(table, ADVICE)
    labels = label_columns(table, file)
    if labels:
        return _from_column(table, file, labels, "")
    classes = class_columns(table, file)
    if classes:
        return _from_one_hot(table, file, classes)
    rest = [at for at in range(len(table.header)) if at != file]
    if len(rest) == 1 and table.header[rest[0]] and has_words(table, rest[0]):
        return _from_column(table, file, rest, "")
    raise ValueError(header_error(table.path, COLUMNS, table.header, ADVICE))


def _from_column(table: Table, file: int, labels: list[int], form: str) -> TagTable:
    """Tags written in cells."""

    def words(row: tuple[str, ...]) -> Iterable[str]:
        return (word for at in labels for word in split_cell(row[at]))

    parts = table.form() + ([form] if form else [])
    if not form and [cell.casefold() for cell in table.header] != ["file", "labels"]:
        parts.append(f"files from {_named(table, {file})}, labels from {_named(table, labels)}")
        parts += _left_out(table, {file, *labels})
    return _collect(table, file, words, parts)


def _from_one_hot(table: Table, file: int, classes: list[int]) -> TagTable:
    """Tags that are names of columns, including those of no image."""

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
    """The tags of all rows."""
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
    """Raise a ValueError if a cell contains whole lines because a quote is closed too late."""
    for cell in cells:
        _, *more = cell.splitlines() or [""]
        if any(table.delimiter in line for line in more):
            raise ValueError(
                f"{where}: a quote is opened here and closed {len(more)} lines below, so that "
                "these are no lines of their own; close it on its line"
            )


def _named(table: Table, places: Iterable[int]) -> str:
    return ", ".join(repr(table.header[at]) for at in places)


def _left_out(table: Table, used: Collection[int]) -> list[str]:
    """The unused columns, as text."""
    rest = [at for at in range(len(table.header)) if at not in used and table.header[at]]
    return [f"not used: {_named(table, rest)}"] if rest else []
