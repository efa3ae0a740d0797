"""Keeps a journal file whole when processes that write it are killed.

Optuna's own lock files outlive a killed process, and half a line at the end of a journal makes
it unreadable once another line follows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.runs.lease import FileLock

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 65536


class JournalLock:
    """The lock of a journal: the kernel's, and it leaves a journal that ends with a whole line."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = FileLock(journal.with_name(journal.name + ".lock"))

    def acquire(self) -> bool:
        """Wait for the lock, then cut off half a line."""
        taken = self._lock.take(wait=True)
        cut_half_line(self._journal)
        return taken

    def release(self) -> None:
        """Unlock."""
        self._lock.release()


def cut_half_line(journal: Path) -> None:
    """Cut off what follows the last line end of a file."""
    with journal.open("r+b") as file:
        end = position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - _BLOCK)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < end:
            file.truncate(position)
