"""A study's table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench.console import stdout

if TYPE_CHECKING:
    from bench.report.markup import Cell, Summary


def show_summary(summary: Summary, notes: tuple[str, ...]) -> None:
    """Write a study's table and its notes to stdout."""
    table = Table(title=summary.title, title_justify="left")
    for index, header in enumerate(summary.headers):
        table.add_column(header, justify="right" if index else "left", no_wrap=not index)
    for row in summary.rows:
        table.add_row(*(Text(cell.text, style=_style(cell)) for cell in row))
    out = stdout()
    out.print(table)
    for note in notes:
        out.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)


def _style(cell: Cell) -> str:
    if cell.best:
        return "bold"
    return "underline" if cell.second else ""
