"""Small CSV files that people write by hand: a header of two names, then lines of two cells.

UTF-8 with or without a byte order mark; blank lines are skipped. What a cell holds several of is
separated by ";" or "|", or by "," inside quotes.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def read_rows(
    path: Path, header: Sequence[str], *, what: str, advice: str
) -> list[tuple[int, list[str]]]:
    """Line number and cells of every row below the header that is not blank; one or more.

    Args:
        path: The file.
        header: Names that its first line must have, in any case.
        what: What the file is of, for the error, e.g. "tags".
        advice: What to write below the header, e.g. "one line per image, e.g. 'a.jpg,cat;dog'".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no CSV in UTF-8, has another header, or no line below it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), start=1))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file of {what}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV in UTF-8 ({error}); save it again as one") from error
    found = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    if found != list(header):
        raise ValueError(
            f"{path}: expected the header {','.join(header)!r}, got {','.join(found)!r}; "
            f"below it, write {advice}"
        )
    body = [(number, row) for number, row in rows[1:] if any(cell.strip() for cell in row)]
    if not body:
        raise ValueError(f"{path}: no line below the header; write {advice}")
    return body


def two_cells(row: Sequence[str], where: str) -> tuple[str, str]:
    """The cells of a row without blanks around them.

    Args:
        row: Cells as `read_rows` gives them.
        where: File and line, for the error.

    Raises:
        ValueError: If there are not two.
    """
    if len(row) != 2:
        raise ValueError(
            f"{where}: expected 2 cells, got {len(row)}; separate several of one cell with ';', "
            "quote a cell that has a comma"
        )
    return row[0].strip(), row[1].strip()


def split_cell(cell: str) -> tuple[str, ...]:
    """What a cell holds, in order, separated by ";", "|" or ",".

    Example:
        >>> split_cell(" dog; traffic light|cat,,")
        ('dog', 'traffic light', 'cat')
    """
    return tuple(filter(None, (word.strip() for word in re.split("[;|,]", cell))))
