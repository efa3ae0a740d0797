"""Finds the compiled engine if numba is installed (`pip install weakclip[fast]`).

The engine is the module `weakclip.crf.compiled.engine` with two functions: `build` makes lattices,
`infer` runs mean-field updates, both in float32 on a CPU. Without it the same is computed by
torch's operators. Only this module checks for numba.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor


def engine_for(like: Tensor) -> ModuleType | None:
    """The engine, if it supports the device and dtype of `like`."""
    return _found() if like.device.type == "cpu" and like.dtype == torch.float32 else None


@lru_cache
def _found() -> ModuleType | None:
    """The engine, if numba is installed and can compile."""
    try:
        numba = importlib.import_module("numba")
        found = importlib.import_module("weakclip.crf.compiled.engine")
    except (ImportError, RuntimeError):  # numba raises RuntimeError if its cache is not writable
        return None
    return None if numba.config.DISABLE_JIT else found
