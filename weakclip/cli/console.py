"""What the commands show while they work: a progress bar and tables, for people.

Progress goes to stderr and is silent when that is no terminal; results go to stdout.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def console() -> Console:
    """A console on stdout; wide enough for whole sentences where there is no terminal."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120, highlight=False)


@contextmanager
def phases() -> Iterator[Callable[[str, int, int], None]]:
    """A bar a phase with its rate and the time left; called with (phase, done, in all)."""
    screen = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    started: dict[str, tuple[TaskID, float]] = {}
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:

        def report(phase: str, done: int, total: int) -> None:
            now = time.monotonic()
            if phase not in started:
                started[phase] = (bar.add_task(phase, total=total, rate=""), now)
            task, start = started[phase]
            rate = f"{done / (now - start):.1f}/s" if now > start else ""
            bar.update(task, completed=done, total=total, rate=rate)

        yield report


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """One bar; called with (done, in all).

    Args:
        what: What is being done, e.g. "masks".
    """
    with phases() as report:
        yield lambda done, total: report(what, done, total)
