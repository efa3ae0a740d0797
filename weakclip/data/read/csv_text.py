"""Text of CSV files written by various programs: encoding, delimiter and records.

Excel writes semicolons in most of Europe, its "Unicode text" is UTF-16 with tabs, and older
programs write Windows-1252. Byte order mark, zero bytes and the first lines show which it is.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

DELIMITERS = (",", ";", "\t", "|")
TOP = 5  # the header is among the first lines, below a title or a comment
HEAD = 100_000  # characters that contain them
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is a prefix of it
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED = {
    b"PK\x03\x04": "an Excel workbook or another archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}
_SAVE = "save it as text (CSV, UTF-8)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The records of a file that are not blank, and how they were read."""

    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """For each record the line on which it begins, from 1, and its stripped cells."""
    delimiter: str
    encoding: str
    """Python's name of the encoding."""


def read_records(path: Path, *, what: str, rate: Callable[[Sequence[str]], int]) -> Records:
    """The records of a CSV that holds `what`, e.g. "tags".

    `rate` rates how plausible the cells of a line are. The delimiter with the best rating of one of
    the first lines is used; of equal ones, the first of `DELIMITERS`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not text, or a quote is not closed.
    """
    text, encoding = decoded(path, what)
    first, _, rest = text.partition("\n")
    if named := re.fullmatch(r'"?sep=(.)"?\r?', first):  # Excel's declaration of the delimiter
        return Records(rows=_parsed(rest, named[1], path, 2), delimiter=named[1], encoding=encoding)
    if re.match(r"\s*[{\[]", text):
        raise ValueError(f"{path}: is JSON or another list, not a CSV; {_SAVE}")
    lines = [line for line in text[:HEAD].splitlines() if line.strip()][:TOP] or [""]
    delimiter = max(DELIMITERS, key=lambda one: max(rate(_cells(line, one)) for line in lines))
    return Records(rows=_parsed(text, delimiter, path, 1), delimiter=delimiter, encoding=encoding)


def decoded(path: Path, what: str) -> tuple[str, str]:
    """Text of a file without byte order mark, and Python's name of its encoding.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not text.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file of {what}") from None
    except OSError as error:
        raise ValueError(f"{path}: not a file of text ({error.strerror})") from error
    if packed := next((kind for start, kind in _PACKED.items() if content.startswith(start)), None):
        raise ValueError(f"{path}: is {packed}, not text; {_SAVE}")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    guesses = ("utf-8", *_wide(content), "cp1252") if encoding is None else (encoding,)
    for guess in guesses:
        try:
            text = content.decode(guess)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text.lstrip("\ufeff"), guess
    raise ValueError(f"{path}: not text ({' or '.join(guesses)}); {_SAVE}")


def _wide(content: bytes) -> tuple[str, ...]:
    """UTF-16 without a mark: every second byte of western text is zero."""
    return tuple(
        name
        for name, zeros in (("utf-16-le", content[1::2]), ("utf-16-be", content[::2]))
        if len(content) % 2 == 0 and zeros.count(0) > len(zeros) / 2
    )


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of one line; the whole line if it is malformed."""
    try:
        reader = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
        return [cell.strip() for cell in next(reader, [])]
    except csv.Error:
        return [line]


def _parsed(
    text: str, delimiter: str, path: Path, start: int
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """The records that are not blank, with the lines on which they begin."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    rows: list[tuple[int, tuple[str, ...]]] = []
    line = start
    try:
        for row in reader:
            cells = tuple(cell.strip() for cell in row)
            if any(cells):
                rows.append((line, cells))
            line = start + reader.line_num
    except csv.Error as error:
        last = start + reader.line_num - 1
        raise ValueError(f"{path}:{line}: {_quote(error, line, last)}") from error
    return tuple(rows)


def _quote(error: csv.Error, first: int, last: int) -> str:
    """Message about the quotes of a record."""
    advice = "close it, remove it, or write two for one that is part of the text"
    if "unexpected end" in str(error) or "field limit" in str(error):
        return f"a quote is opened on line {first} and never closed; {advice}"
    until = f" and closed on line {last}" if last > first else ""
    return f"a quote is opened on line {first}{until} before the cell ends ({error}); {advice}"
