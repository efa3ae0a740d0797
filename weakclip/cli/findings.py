"""Findings as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from weakclip.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weakclip.data.check.finding import Finding

COLOURS = {"breaks": "bold red", "biases": "yellow", "note": "dim"}


def findings_table(title: str, findings: Sequence[Finding], examples: int) -> Table:
    """One row per finding: count, description with the first examples, and fix."""
    table = Table(title=title, title_justify="left", show_lines=True)
    for column in ("finding", "count", "what, and first examples", "fix"):
        table.add_column(column, justify="right" if column == "count" else "left")
    for finding in findings:
        kind, colour = finding.kind, COLOURS[finding.kind.severity]
        shown = "".join(f"\n· {escape(_short(one))}" for one in finding.affected[:examples])
        table.add_row(
            f"[{colour}]{kind.severity}[/]\n{kind.name}",
            str(len(finding.affected)),
            f"{kind.what}[dim]{shown}[/]",
            kind.fix,
        )
    return table


def findings_json(findings: Sequence[Finding], examples: int) -> list[dict[str, object]]:
    """The content of the table as JSON types."""
    return [
        {
            "kind": finding.kind.name,
            "severity": finding.kind.severity,
            "count": len(finding.affected),
            "examples": list(finding.affected[:examples]),
        }
        for finding in findings
    ]


def _short(text: str, longest: int = 200) -> str:
    """One line of limited length, with control characters escaped."""
    line = one_line(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
