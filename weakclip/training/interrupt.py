"""Delays Ctrl-C to the end of a training step, so that the state can be saved."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Delay the first Ctrl-C within the block; a second one interrupts at once.

    Yields:
        A function that returns whether Ctrl-C was pressed. It is always false, and nothing is
        delayed, outside the main thread or if the program has its own SIGINT handler.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    seen: list[int] = []

    def hold(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
