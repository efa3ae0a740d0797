"""Ctrl-C as a terminal sends it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def heeded_interrupts() -> Iterator[None]:
    """A shell makes the programs it starts in the background ignore Ctrl-C; not so here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
