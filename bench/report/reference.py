"""Published results, each with its source; they are never mixed with results of this project."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.markup import Summary, markdown_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE = "reference.csv"
COLUMNS = (
    *("system", "venue_year", "dataset", "split", "metric", "stage", "value", "backbone"),
    *("extra_supervision", "source"),
)
_SHOWN = ("system", "dataset", "split", "stage", "value", "backbone", "source")
_MASKS = ("cam_seed", "cam_refined", "pseudo_mask")
REQUIRED = ("system", "dataset", "metric", "stage", "value", "source")


def read_reference(root: Path) -> list[dict[str, str]]:
    """Return the rows of `reference.csv` in a results folder; an empty list without the file.

    Raises:
        BenchError: If the columns differ, a row is cut short, or a required field is empty.
    """
    path = root / FILE
    if not path.exists():
        return []
    reader = csv.DictReader(StringIO(path.read_text(encoding="utf-8")))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise BenchError(f"{FILE}: expected the columns {COLUMNS}, got {reader.fieldnames}")
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise BenchError(
                f"{FILE}, line {reader.line_num}: expected {len(COLUMNS)} fields; "
                "quote those that hold a comma"
            )
        empty = [name for name in REQUIRED if not row[name].strip()]
        if empty:
            raise BenchError(f"{FILE}, line {reader.line_num}: expected {', '.join(empty)}")
        rows.append(row)
    return rows


def published_section(root: Path, systems: Sequence[str]) -> str:
    """Return a Markdown section with the published mIoU of masks; empty if there is none.

    `systems` are prefixes of names of systems, in the order of the rows.
    """
    rows = [
        row
        for system in systems
        for row in read_reference(root)
        if row["system"].startswith(system) and row["stage"] in _MASKS and row["metric"] == "mIoU"
    ]
    if not rows:
        return ""
    table = Summary.of("", _SHOWN, ([row[name] for name in _SHOWN] for row in rows))
    head = (
        "\n## Published by others, on photographs\n\nNot measured here and not comparable with the "
        f"rows above: other images, other networks. From `{FILE}`, which has more.\n"
    )
    return "\n".join([head, *markdown_rows(table)]) + "\n"
