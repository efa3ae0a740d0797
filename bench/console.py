"""What a person sees: progress and log on stderr, results on stdout.

Owns the two rich consoles. The progress bars vanish when stderr is not a terminal; then each run
that ends is one line.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.plan import Plan, PlannedRun
    from bench.run import Finished
    from bench.summary import Cell, Summary

logger = logging.getLogger(__name__)

PIPE_WIDTH = 280
"""Columns of a table when stdout is not a terminal."""


class RunProgress:
    """Bars: runs done, rate, time left, and the step each run is at."""

    def __init__(self, progress: Progress, study: str, total: int) -> None:
        self._progress = progress
        self._shares: dict[str, float] = {}
        self._ended = 0
        self._bars: dict[str, TaskID] = {}
        self._all = progress.add_task(f"{study}: runs", total=total)

    def stepped(self, run: PlannedRun, step: int, total: int) -> None:
        """Move the bar of a run."""
        if run.label not in self._bars:
            self._bars[run.label] = self._progress.add_task(f"  {run.label}")
        self._progress.update(self._bars[run.label], completed=step, total=total)
        self._shares[run.label] = step / total if total else 0.0
        self._count()

    def finished(self, result: Finished) -> None:
        """Count a run and say how it ended."""
        if result.run.label in self._bars:
            self._progress.remove_task(self._bars.pop(result.run.label))
        self._shares.pop(result.run.label, None)
        self._ended += 1
        self._count()
        _tell(result)

    def _count(self) -> None:
        self._progress.update(self._all, completed=self._ended + sum(self._shares.values()))


class Lines:
    """A line per run that ends, for a worker that does not know how many there will be."""

    def stepped(self, run: PlannedRun, step: int, total: int) -> None:
        """Say nothing."""

    def finished(self, result: Finished) -> None:
        """Say how a run ended."""
        _tell(result)


@contextmanager
def run_progress(study: str, total: int) -> Iterator[RunProgress]:
    """Show the progress of a study while its runs are carried out."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=_stderr(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        yield RunProgress(progress, study, total)


def say(text: str) -> None:
    """Write one line to stderr, for the person who waits."""
    _stderr().print(text, markup=False, highlight=False, soft_wrap=True)


def show_plan(plan: Plan, study: str, preset: str) -> None:
    """Write a plan to stdout: what will be run and why, and what is there already."""
    table = Table(title=f"Plan: study {study}, preset {preset}", title_justify="left")
    for header in ("variant", "seed", "", "why"):
        table.add_column(header)
    for action, runs in (("run", plan.todo), ("done", plan.done)):
        for run in runs:
            table.add_row(run.variant.name, str(run.seed), action, run.reason)
    stdout = _stdout()
    stdout.print(table)
    stdout.print(f"{len(plan.todo)} runs to do, {len(plan.done)} done")


def show_summary(summary: Summary, notes: tuple[str, ...]) -> None:
    """Write a study's table and its notes to stdout."""
    table = Table(title=summary.title, title_justify="left")
    for index, header in enumerate(summary.headers):
        table.add_column(header, justify="right" if index else "left", no_wrap=not index)
    for row in summary.rows:
        table.add_row(*(Text(cell.text, style=_style(cell)) for cell in row))
    stdout = _stdout()
    stdout.print(table)
    for note in notes:
        stdout.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)


def show_rows(title: str, headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Write a small table to stdout."""
    table = Table(title=title, title_justify="left")
    for header in headers:
        table.add_column(header)
    for row in rows:
        table.add_row(*map(Text, row))
    _stdout().print(table)


def result(values: Mapping[str, object]) -> None:
    """Write the last line of stdout: one JSON object."""
    sys.stdout.write(json.dumps(values, allow_nan=False) + "\n")


def log_to_stderr(*, verbose: bool) -> None:
    """Send log messages to stderr; with `verbose` also debug messages of this project."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=_stderr(), show_path=False)],
        force=True,
    )
    for package in ("bench", "weakclip", "baselines"):
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)


def _style(cell: Cell) -> str:
    if cell.best:
        return "bold"
    return "underline" if cell.second else ""


def _tell(result: Finished) -> None:
    say(_one_line(result))
    if result.details:
        logger.debug("%s", result.details)


def _one_line(finished: Finished) -> str:
    text = f"{finished.run.label}: {finished.status} in {finished.seconds:.1f} s"
    tail = finished.error or finished.headline
    return f"{text}: {tail}" if tail else text


def _stderr() -> Console:
    return _CONSOLES["stderr"]


def _stdout() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


_CONSOLES = {"stderr": Console(stderr=True)}
