"""Terminal output about runs: the plan, the progress and the result of each run."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

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

from bench.console import say, stderr, stdout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.runs.plan import Plan, PlannedRun
    from bench.runs.run import Finished

logger = logging.getLogger(__name__)


def show_plan(plan: Plan, study: str, preset: str) -> None:
    """Write a plan to stdout: the runs to do and why, and the runs that are done."""
    table = Table(title=f"Plan: study {study}, preset {preset}", title_justify="left")
    for header in ("variant", "seed", "", "why"):
        table.add_column(header)
    for action, runs in (("run", plan.todo), ("done", plan.done)):
        for run in runs:
            table.add_row(run.variant.name, str(run.seed), action, run.reason)
    out = stdout()
    out.print(table)
    out.print(f"{len(plan.todo)} runs to do, {len(plan.done)} done")


class RunProgress:
    """Progress bars: runs done and time left of a study, and steps done of each run."""

    def __init__(self, progress: Progress, study: str, total: int) -> None:
        self._progress = progress
        self._shares: dict[str, float] = {}
        self._ended = 0
        self._bars: dict[str, TaskID] = {}
        self._all = progress.add_task(f"{study}: runs", total=total)

    def stepped(self, run: PlannedRun, step: int, total: int) -> None:
        """Advance the bar of a run."""
        if run.label not in self._bars:
            self._bars[run.label] = self._progress.add_task(f"  {run.label}")
        self._progress.update(self._bars[run.label], completed=step, total=total)
        self._shares[run.label] = step / total if total else 0.0
        self._count()

    def finished(self, result: Finished) -> None:
        """Count a run and print its result."""
        if result.run.label in self._bars:
            self._progress.remove_task(self._bars.pop(result.run.label))
        self._shares.pop(result.run.label, None)
        self._ended += 1
        self._count()
        _tell(result)

    def _count(self) -> None:
        self._progress.update(self._all, completed=self._ended + sum(self._shares.values()))


class Lines:
    """One line per finished run, for a worker that does not know the number of runs."""

    def stepped(self, run: PlannedRun, step: int, total: int) -> None:
        """Do nothing."""

    def finished(self, result: Finished) -> None:
        """Print the result of a run."""
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
        console=stderr(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        yield RunProgress(progress, study, total)


def _tell(result: Finished) -> None:
    say(_one_line(result))
    if result.details:
        logger.debug("%s", result.details)


def _one_line(finished: Finished) -> str:
    text = f"{finished.run.label}: {finished.status} in {finished.seconds:.1f} s"
    tail = finished.error or finished.headline
    return f"{text}: {tail}" if tail else text
