"""How findings are shown: a table for people, a list for programs."""

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
    """A row a finding: count, what it is with first examples, and the fix."""
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
    """What the table shows, for programs."""
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
    """One line that a table can hold; control characters are written out."""
    line = one_line(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
