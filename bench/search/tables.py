"""The table of a search as Markdown and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.table import rows_csv
from bench.runs.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def write_table(
    out: Path, name: str, page: str, values: Sequence[Mapping[str, object]]
) -> list[Path]:
    """Write `tables/NAME.md` and `tables/NAME.csv` in the results folder; return the paths."""
    files = {out / "tables" / f"{name}.md": page, out / "tables" / f"{name}.csv": rows_csv(values)}
    for path, text in files.items():
        write_atomically(path, text.encode())
    return list(files)
