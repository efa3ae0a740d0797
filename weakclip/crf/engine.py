"""Finds the compiled engine, where numba is installed (`pip install weakclip[fast]`).

The engine is the module `weakclip.crf.compiled.engine` with two functions: `build` makes lattices
and `infer` mean-field updates, in float32 on a CPU. Who gets none does the same by torch's
operators; nothing else asks whether numba is there.
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
    """The engine, if it can take numbers such as those of `like`."""
    return _found() if like.device.type == "cpu" and like.dtype == torch.float32 else None


@lru_cache
def _found() -> ModuleType | None:
    """The engine, if numba is there and can compile."""
    try:
        numba = importlib.import_module("numba")
        found = importlib.import_module("weakclip.crf.compiled.engine")
    except (ImportError, RuntimeError):  # numba raises the latter where it may not write its cache
        return None
    return None if numba.config.DISABLE_JIT else found
