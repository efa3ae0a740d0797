"""Numbers of low precision, brought back to float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def at_least_single(values: Tensor) -> Tensor:
    """The same numbers in float32 if they were in less; gradients flow."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
