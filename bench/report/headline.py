"""Writes the headline table into README.md, between two markers, from the records.

Run: `python -m bench.report.headline` after `python -m bench run components`. A test fails if the
README
says something else than the records.
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError
from bench.report.build import render
from bench.report.markup import Summary, markdown_rows
from bench.runs.store import Store, write_atomically
from bench.stats.effects import main_tasks
from bench.studies.study import MAIN, load_study

README, RESULTS = Path("README.md"), Path("results")
BEGIN, END = f"<!-- begin: {MAIN}, by `python -m bench.report.headline` -->", "<!-- end -->"
SCORE, DIFFERENCE = "mIoU %", "Δ [95 %]"


def main() -> int:
    """Rewrite the table in README.md."""
    text = with_table(README.read_text(), headline(Store(RESULTS)))
    write_atomically(README, text.encode())
    return 0


def headline(store: Store) -> str:
    """Return the rows and the scores of the component study as Markdown, one line of protocol.

    Raises:
        BenchError: If there are no records or they do not belong together.
    """
    report = render(load_study(MAIN), store)
    summary, tasks = report.summary, main_tasks(report.records)
    columns = [
        index
        for index, header in enumerate(summary.headers)
        for task, _, name in [header.rpartition("\n")]
        if index == 0 or name == SCORE or (name == DIFFERENCE and task in tasks)
    ]
    short = Summary(
        title=summary.title,
        headers=tuple(summary.headers[index] for index in columns),
        rows=tuple(tuple(row[index] for index in columns) for row in summary.rows),
    )
    seeds = len({record.seed for record in report.records})
    commits = sorted({str(record.provenance.commit)[:8] for record in report.records})
    note = f"Preset `{report.records[0].preset}`, {seeds} seeds, commit {', '.join(commits)}."
    return "\n".join([*markdown_rows(short), "", note])


def with_table(readme: str, table: str) -> str:
    """Return a text whose part between the markers is `table`.

    Raises:
        BenchError: If the markers are missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"README.md: expected the lines {BEGIN!r} and {END!r}, found none")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


if __name__ == "__main__":
    raise SystemExit(main())
