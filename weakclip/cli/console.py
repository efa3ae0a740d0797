"""Progress bars and tables of the commands.

Progress is shown on stderr if that is a terminal; results go to stdout.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from weakclip.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from weakclip.progress import Report, StageReport


def console() -> Console:
    """A console on stdout; 120 columns wide where there is no terminal."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120, highlight=False)


EVERY = 30.0
"""Seconds between two progress lines where there is no terminal."""
LONG = 120.0
"""Remaining seconds from which a training is announced as long, after its first steps."""
MEASURED = 3
"""Number of steps after which the duration of a training is estimated."""


FEWER = "fewer: --iterations, smaller: --training-batch, --max-side; none: --method clip-es"
"""Advice for a long training of `weakclip masks`."""


@contextmanager
def phases(advice: str = FEWER) -> Iterator[StageReport]:
    """A progress bar per phase, with rate and remaining time; call it with (phase, done, total).

    `advice` is shown for a long training. Without a terminal, a line is printed every half minute.
    Items done before the first call do not affect the rate and the remaining time; a phase whose
    total changes is timed anew.
    """
    screen = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
    )
    tasks: dict[str, TaskID] = {}
    started: dict[tuple[str, int], tuple[float, int]] = {}
    said: dict[str, float] = {}
    bar = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
    with bar if screen.is_terminal else nullcontext():  # rich 13 ends a disabled bar with a newline

        def report(phase: str, done: int, total: int) -> None:
            now = time.monotonic()
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total, rate="", left="")
                said[phase] = now
            task = tasks[phase]
            start, first = started.setdefault((phase, total), (now, done))
            made, took = done - first, now - start
            left = took / made * (total - done) if made > 0 else None
            rate = f"{made / took:.2g}/s" if made > 0 and took > 0 else ""
            words = "" if left is None else f"{_duration(left)} left"
            bar.update(task, completed=done, total=total, rate=rate, left=words)
            if phase == "training" and made == MEASURED and left is not None and left > LONG:
                bar.console.print(
                    f"training: {total} steps at {took / made:.1f} s take {_duration(left)} more; "
                    f"{advice}",
                    markup=False, highlight=False, soft_wrap=True,
                )  # fmt: skip
            elif not screen.is_terminal and now - said[phase] >= EVERY:
                said[phase] = now
                screen.print(f"{phase}: {done} of {total} {rate} {words}", highlight=False)

        yield report


def _duration(seconds: float) -> str:
    """A duration as minutes and seconds, or hours and minutes.

    Example:
        >>> _duration(75), _duration(7260)
        ('1 min 15 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def write_some(lines: Sequence[str], shown: int, rest: str) -> None:
    """Write the first lines to stderr, with how many more there are of the `rest`."""
    for line in lines[:shown]:
        sys.stderr.write(f"{one_line(line)}\n")
    if len(lines) > shown:
        sys.stderr.write(f"... and {len(lines) - shown} {rest}\n")


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """A single progress bar, e.g. of "masks"; call it with (done, total)."""
    with phases() as report:
        yield partial(report, what)
