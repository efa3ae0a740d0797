"""CSV tables with named columns in any order, written by people or programs.

A cell with several values separates them by ";" or "|", or by "," inside quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weakclip.data.read.csv_text import TOP, read_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ENCODINGS = {
    "utf-8": "", "utf-8-sig": "", "cp1252": "as Windows-1252", "utf-16": "as UTF-16",
    "utf-16-le": "as UTF-16", "utf-16-be": "as UTF-16", "utf-32": "as UTF-32",
}  # fmt: skip
_NAMES = {",": "", ";": "with semicolons", "\t": "with tabs", "|": "with bars"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its name in this project, and its names in other programs."""

    name: str
    others: frozenset[str]
    """Other names in lower case, without blanks, hyphens and underscores."""

    def matches(self, cell: str) -> bool:
        """Whether a header cell names this column; numbers at its end are ignored.

        Example:
            >>> labels = Column(name="labels", others=frozenset({"label"}))
            >>> [labels.matches(cell) for cell in ("Labels", "label_2", "scores")]
            [True, True, False]
        """
        word = _word(cell)
        return bool({word, word.rstrip("0123456789")} & {self.name, *self.others})


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A header and the rows below it."""

    path: Path
    line: int
    """Line number of the header, from 1."""
    header: tuple[str, ...]
    """Cells of the header."""
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """Line number and cells of each further row."""
    delimiter: str
    encoding: str

    def column(self, index: int) -> Iterator[tuple[int, str]]:
        """Line number and cell of every row that has this column."""
        return ((line, row[index]) for line, row in self.rows if index < len(row))

    def named(self, column: Column) -> list[int]:
        """Indices of the columns with exactly this name, or else of all that match."""
        exact = [at for at, cell in enumerate(self.header) if _word(cell) == column.name]
        return exact or [at for at, cell in enumerate(self.header) if column.matches(cell)]

    def form(self) -> list[str]:
        """What is unusual about the file, as text; empty for UTF-8 with commas."""
        delimiter = _NAMES.get(self.delimiter, f"with {self.delimiter!r} between cells")
        return [part for part in (_ENCODINGS[self.encoding], delimiter) if part]


def read_table(path: Path, columns: Sequence[Column], *, what: str, advice: str) -> Table:
    """The table in a CSV of any usual encoding and delimiter.

    Args:
        path: The file.
        columns: Columns that the header should name; used to choose the delimiter.
        what: Content of the file, for errors, e.g. "tags".
        advice: What to write below the header, e.g. "one line per image, e.g. 'a.jpg,cat;dog'".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not text, a quote is not closed, or it is empty.
    """

    def rate(cells: Sequence[str]) -> int:
        """Rank cells by the named columns, then by file names, then by the number of cells."""
        found = sum(any(column.matches(cell) for cell in cells) for column in columns)
        files = any(re.search(r"\.[A-Za-z]\w{1,4}$", cell) for cell in cells)
        return 100 * found + 10 * files + (len(cells) > 1)

    records = read_records(path, what=what, rate=rate)
    if not records.rows:
        raise ValueError(header_error(path, columns, (), advice))
    named = (
        at
        for at, (_, cells) in enumerate(records.rows[:TOP])
        if all(any(column.matches(cell) for cell in cells) for column in columns)
    )
    (line, header), *rows = records.rows[next(named, 0) :]  # a title or comments may be above
    return Table(
        path=path,
        line=line,
        header=header,
        rows=tuple(rows),
        delimiter=records.delimiter,
        encoding=records.encoding,
    )


def read_pairs(
    path: Path, columns: tuple[Column, Column], *, what: str, advice: str
) -> list[tuple[str, str, str]]:
    """Location (file:line) and the two cells of every row of a table with two named columns.

    Raises:
        FileNotFoundError: As for `read_table`.
        ValueError: As for `read_table`; or if a column is missing or occurs twice, there is no row,
            or a row has another number of cells.
    """
    table = read_table(path, columns, what=what, advice=advice)
    places = [table.named(column) for column in columns]
    if [len(found) for found in places] != [1, 1]:
        raise ValueError(header_error(path, columns, table.header, advice))
    check_rows(table, advice)
    (first,), (second,) = places
    pairs = []
    for line, row in table.rows:
        cells = full_row(table, row, f"{path}:{line}")
        pairs.append((f"{path}:{line}", cells[first], cells[second]))
    return pairs


def check_rows(table: Table, advice: str) -> None:
    """Raise a ValueError if the table has no rows."""
    if not table.rows:
        raise ValueError(f"{table.path}: no line below the header; write {advice}")


def header_error(path: Path, columns: Sequence[Column], found: Sequence[str], advice: str) -> str:
    """Message about an unusable header."""
    expected = ",".join(column.name for column in columns)
    return (
        f"{path}: expected the header {expected!r}, got {','.join(found)!r}; "
        f"below it, write {advice}"
    )


def full_row(table: Table, row: Sequence[str], where: str) -> tuple[str, ...]:
    """The cells of a row, as many as the header has; additional empty cells are dropped.

    Raises:
        ValueError: If there are more or fewer cells; begins with `where`.
    """
    wide = len(table.header)
    if any(row[wide:]) or len(row) < wide:
        raise ValueError(
            f"{where}: expected {wide} cells, got {len(row)}; separate several of one cell with "
            f"{';' if table.delimiter != ';' else '|'!r}, quote a cell that has a "
            f"{'comma' if table.delimiter == ',' else repr(table.delimiter)}"
        )
    return tuple(row[:wide])


def split_cell(cell: str) -> tuple[str, ...]:
    """The values in a cell, in order, separated by ";", "|" or ",".

    Example:
        >>> split_cell(" dog; traffic light|cat,,")
        ('dog', 'traffic light', 'cat')
    """
    return tuple(filter(None, (word.strip() for word in re.split("[;|,]", cell))))


def _word(cell: str) -> str:
    return re.sub(r"[\s_#-]+", "", cell).casefold()
