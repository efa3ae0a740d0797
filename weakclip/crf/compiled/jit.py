"""How the loops of this folder are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

Loop = TypeVar("Loop", bound="Callable[..., object]")


def compiled(loop: Loop) -> Loop:
    """Compile at the first call on a machine, without the global lock.

    And without fast math: not even a product and a sum may be fused, or other bits come out.
    """
    made: Loop = njit(nogil=True, cache=True, error_model="numpy")(loop)
    return made
