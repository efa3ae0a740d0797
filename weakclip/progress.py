"""Functions to which long steps report their progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Report: TypeAlias = Callable[[int, int], None]
"""Called with (images or steps done, total)."""
StageReport: TypeAlias = Callable[[str, int, int], None]
"""Called with (`maps`, `training`, `masks` or `retraining`, done, total)."""


def silent(*_: object) -> None:
    """A report of either type that shows nothing."""
