"""Loops that numba compiles, where it is installed (`pip install weakclip[fast]`).

Kept apart so that nothing else asks whether numba is there: `loops` finds a module of compiled
loops or None, and whoever gets None does the same by torch's operators.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from torch import Tensor

Loop = TypeVar("Loop", bound="Callable[..., object]")


def loops(name: str, like: Tensor) -> ModuleType | None:
    """The module weakclip.ops.`name`, if it can take numbers such as those of `like`."""
    return _found(name) if like.device.type == "cpu" and like.dtype == torch.float32 else None


@lru_cache
def _found(name: str) -> ModuleType | None:
    """The module, if numba is there and can compile."""
    try:
        numba = importlib.import_module("numba")
        found = importlib.import_module(f"weakclip.crf.{name}")
    except (ImportError, RuntimeError):  # numba raises the latter where it may not write its cache
        return None
    return None if numba.config.DISABLE_JIT else found


def compiled(loop: Loop) -> Loop:
    """Compile at the first call on a machine, without the global lock.

    And without fast math: not even a product and a sum may be fused, or other bits come out.
    """
    njit = importlib.import_module("numba").njit
    made: Loop = njit(nogil=True, cache=True, error_model="numpy")(loop)
    return made
