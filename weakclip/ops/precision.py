"""Conversion of low-precision values to float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def at_least_single(values: Tensor) -> Tensor:
    """The values in float32 if their precision is lower, else unchanged; differentiable."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
