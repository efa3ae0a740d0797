"""How others know that the worker of a run is alive: a lock on one machine, a pulse on many.

A lock is exact: the kernel releases it the moment its process ends, however it ends. Between
machines there is none, so a worker leaves a sign of life in the database every few seconds.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


class Lease(Protocol):
    """Held while a run is carried out."""

    def end(self) -> None:
        """Let go of it."""


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
