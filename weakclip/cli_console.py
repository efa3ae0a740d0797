"""What the commands show while they work: a progress bar and tables, for people.

Progress goes to stderr and is silent when that is no terminal; results go to stdout.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def console() -> Console:
    """A console on stdout; wide enough for whole sentences where there is no terminal."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120, highlight=False)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left; the block calls it with (done, in all).

    Args:
        what: What is being done, e.g. "masks".
    """
    screen = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
