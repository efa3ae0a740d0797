"""One compared key of a parity file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """How far our value of one key is from the reference's."""

    key: str
    max_abs: float
    """Largest absolute error; infinite if we have no such value or another shape."""
    max_rel: float
    """The same over the largest absolute value of the reference tensor."""
    tolerance: float
    passed: bool
