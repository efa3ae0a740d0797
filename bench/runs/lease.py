"""How others know that the worker of a run is alive: a lock on one machine, a pulse on many.

A lock is exact: the kernel releases it the moment its process ends, however it ends. Between
machines there is none, so a worker leaves a sign of life in the database every few seconds.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)


class Lease(Protocol):
    """Held while a run is carried out."""

    def end(self) -> None:
        """Let go of it."""


class FileLock:
    """An exclusive lock on a file, gone when it is ended or its process is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self, *, wait: bool) -> bool:
        """Lock, and say whether that worked; with `wait` it does, sooner or later."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Unlock; the file stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def end(self) -> None:
        """Remove the file and unlock."""
        self._path.unlink(missing_ok=True)
        self.release()


@contextmanager
def making(product: Path) -> Iterator[None]:
    """Hold the lock of what takes long to make, so that others wait for it and do not make it too.

    Look again inside whether it is there. The lock file stays beside the product.
    """
    lock = FileLock(product.with_name(f"{product.name}.lock"))
    lock.take(wait=True)
    try:
        yield
    finally:
        lock.release()


class Pulse:
    """Calls `beat` every few seconds from a thread of its own, also when a call fails."""

    def __init__(self, beat: Callable[[], None], every: float) -> None:
        """Start; the first call is that of whoever takes the run."""
        self._beat, self._every = beat, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop and wait for the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._beat()
            except Exception as error:  # whatever it was, the next may work
                logger.warning("no sign of life could be left: %s", type(error).__name__)
