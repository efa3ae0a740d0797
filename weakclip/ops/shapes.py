"""Shape checks that return the sizes, so that a function's first line documents its input.

They are here once, so that all functions raise the same error message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def dims(tensor: Tensor, axes: str, *, name: str) -> tuple[int, ...]:
    """Check the rank of `tensor` and return its sizes.

    Args:
        tensor: Any tensor.
        axes: Axis names separated by spaces, one per expected dimension, e.g. `"B D h w"`.
        name: The caller's name of this tensor, for the error message.

    Returns:
        The sizes, one per axis name.

    Raises:
        ValueError: If the rank differs from the number of axis names.

    Example:
        >>> import torch
        >>> dims(torch.zeros(2, 3), "B D", name="visual")
        (2, 3)
    """
    names = axes.split()
    if tensor.ndim != len(names):
        raise ValueError(f"{name}: expected shape ({', '.join(names)}), got {tuple(tensor.shape)}")
    return tuple(tensor.shape)
