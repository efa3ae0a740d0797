"""How a network is computed, as opposed to what it computes: precision, prefetching, compilation.

Weights, optimiser, losses and the dense CRF are in float32 for every precision: autocast covers
only the forward pass, and the network returns score map and logits in float32.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


Forward = TypeVar("Forward", bound="Callable[..., Any]")
Precision = Literal["float32", "bfloat16"]
AHEAD = 2
"""Batches prefetched on a GPU: one for the next step, and a reserve for slow images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How to compute. The default is the reference, used for all committed results."""

    precision: Precision = "float32"
    """Precision of matrix products and convolutions in forward passes (`torch.autocast`)."""
    prefetch: int = 0
    """Training batches that a thread prepares in advance; does not affect results."""
    mode: Literal["eager", "compiled"] = "eager"
    """`compiled`: the forward pass in training uses `torch.compile`."""

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ValueError(f"unknown precision {self.precision!r}; known: {known}")
        if self.prefetch < 0:
            raise ValueError(f"prefetch: expected 0 batches or more, got {self.prefetch}")

    @property
    def arithmetic(self) -> dict[str, str]:
        """The settings that affect results and differ from the reference; empty for the reference.

        Part of the key of every stored product.

        Example:
            >>> Execution(precision="bfloat16", prefetch=2).arithmetic
            {'precision': 'bfloat16'}
        """
        chosen = {"precision": self.precision, "mode": self.mode}
        plain = {"precision": "float32", "mode": "eager"}
        return {name: value for name, value in chosen.items() if value != plain[name]}

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Context manager for a forward pass on this device."""
        match self.precision:
            case "float32":
                return nullcontext()
            case "bfloat16":
                return torch.autocast(device.type, dtype=torch.bfloat16)

    def forward_of(self, model: Forward) -> Forward:
        """The callable to use as the model in training; it shares the model's weights."""
        match self.mode:
            case "eager":
                return model
            case "compiled":
                return cast("Forward", torch.compile(model))


REFERENCE = Execution()


def execution_for(
    device: torch.device, precision: Literal["auto"] | Precision = "auto"
) -> Execution:
    """The execution that suits a device.

    Args:
        device: Device of the network.
        precision: `auto` is bfloat16 on a GPU that supports it, float32 elsewhere.

    Returns:
        On a GPU with prefetching, on a CPU without: there it would compete with the training.

    Example:
        >>> execution_for(torch.device("cpu")) == REFERENCE
        True
    """
    on_gpu = device.type == "cuda"
    if precision == "auto":
        able = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if able else "float32"
    return Execution(precision=precision, prefetch=AHEAD if on_gpu else 0)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT_BYTES = 1 << 30


def full_float32() -> None:
    """Disable TF32 for convolutions on a GPU, in this process.

    By default torch lets cuDNN round the inputs of convolutions to the 10-bit mantissa of TF32,
    but not those of matrix products. The commands call this; other programs decide for themselves.
    """
    torch.backends.cudnn.allow_tf32 = False


def keep_heap() -> bool:
    """Let the C library keep freed memory for reuse in this process.

    A training step frees and allocates the same large arrays hundreds of times. By default glibc
    returns each of them to the kernel, which then maps and clears its pages again: a tenth of the
    CPU time of a run. Results do not change; peak memory grows by a few per cent.

    Returns:
        Whether it took effect; never without glibc.

    Source: glibc's manual, "Malloc Tunable Parameters".
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    accepted = [mallopt(option, _KEPT_BYTES) for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD)]
    return all(accepted)
