"""Compilation of the loops in this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

Loop = TypeVar("Loop", bound="Callable[..., object]")


def compiled(loop: Loop) -> Loop:
    """Compile a loop at its first call on a machine; it releases the global interpreter lock.

    Fast math is off: even fusing a product and a sum would change the result bits.
    """
    made: Loop = njit(nogil=True, cache=True, error_model="numpy")(loop)
    return made
