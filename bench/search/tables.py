"""The table of a search as Markdown and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.markup import markdown
from bench.report.table import rows_csv
from bench.runs.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.report.markup import Summary


def write_table(
    out: Path, name: str, table: Summary, notes: Sequence[str],
    rows: Sequence[Mapping[str, object]], *, by: str,
) -> list[Path]:  # fmt: skip
    """Write `tables/NAME.md` and `.csv`, made by a module of `bench.search`; return the paths."""
    page = markdown([table], notes, rebuilt_by=f"python -m bench.search.{by}")
    files = {out / "tables" / f"{name}.md": page, out / "tables" / f"{name}.csv": rows_csv(rows)}
    for path, text in files.items():
        write_atomically(path, text.encode())
    return list(files)
