"""How a network is computed: precision, batches made ahead, compilation. Not what is computed.

Weights, optimiser, losses and the dense CRF are in float32 whatever the precision: autocast holds
the forward pass alone, and the network hands its score map and logits out in float32.
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
"""Batches made ahead on a GPU: one while it works on another, one for a slow image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How to compute; the default is the reference, which every committed number was made with."""

    precision: Precision = "float32"
    """Of matrix products and convolutions in forward passes; bfloat16 by `torch.autocast`."""
    prefetch: int = 0
    """Training batches that a thread makes ahead; moves no number."""
    mode: Literal["eager", "compiled"] = "eager"
    """`compiled`: training's forward pass through `torch.compile`."""

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ValueError(f"unknown precision {self.precision!r}; known: {known}")
        if self.prefetch < 0:
            raise ValueError(f"prefetch: expected 0 batches or more, got {self.prefetch}")

    @property
    def arithmetic(self) -> dict[str, str]:
        """What moves a number and is not the reference's; empty for the reference.

        Whatever is kept and used again has to agree on it.

        Example:
            >>> Execution(precision="bfloat16", prefetch=2).arithmetic
            {'precision': 'bfloat16'}
        """
        chosen = {"precision": self.precision, "mode": self.mode}
        plain = {"precision": "float32", "mode": "eager"}
        return {name: value for name, value in chosen.items() if value != plain[name]}

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context of a forward pass on this device."""
        match self.precision:
            case "float32":
                return nullcontext()
            case "bfloat16":
                return torch.autocast(device.type, dtype=torch.bfloat16)

    def forward_of(self, model: Forward) -> Forward:
        """What training calls in the place of the model, whose weights it shares."""
        match self.mode:
            case "eager":
                return model
            case "compiled":
                return cast("Forward", torch.compile(model))


REFERENCE = Execution()


def execution_for(
    device: torch.device, precision: Literal["auto"] | Precision = "auto"
) -> Execution:
    """What suits a device.

    Args:
        device: Where the network is.
        precision: `auto` is bfloat16 on a GPU that has it, float32 elsewhere.

    Returns:
        On a GPU with batches made ahead, on a CPU without: there they would take its time.

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
    """Let float32 be float32 on a GPU too, in this process.

    By default torch lets cuDNN round what a convolution multiplies to the 10 bits of TF32,
    while matrix products are not rounded. The commands call this; a program of your own decides
    for itself.
    """
    torch.backends.cudnn.allow_tf32 = False


def keep_heap() -> bool:
    """Let the C library reuse freed memory in this process instead of handing it back.

    A training step frees and allocates the same large arrays hundreds of times. glibc returns each
    of them to the kernel, which maps and clears its pages again: a tenth of the CPU time of a run.
    No number changes; peak memory grows by some per cent.

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
