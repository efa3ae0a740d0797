"""How fast a device multiplies matrices, convolves and copies memory: roofs of the roofline.

Measured, not read off a data sheet: a virtual machine or a shared one has other roofs than its
processor. One best of several runs is what the device can do; what others take away is not.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from weakclip.training.execution import full_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Call = tuple[Callable[[], object], float]  # and its FLOPs

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MATRIX = {"cpu": 1536, "cuda": 8192}
"""Side of the matrices: large enough to be bound by arithmetic."""
SMALL_MATRIX = 256
"""Tried first, and used for a precision that the device only emulates, slowly."""
CHANNELS = {"cpu": 256, "cuda": 1024}
SMALL_CHANNELS = 32
"""Of a 3 x 3 convolution on `CELLS` x `CELLS`; as of the matrices."""
CELLS = 32
PATIENCE = 2.0
"""Seconds that one call may take."""
COPIED = {"cpu": 1 << 26, "cuda": 1 << 30}
"""Bytes of the copied array: several times the largest cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Roofs of a device."""

    matmul_flops: dict[str, float]
    """Precision to FLOP per second (FLOP = 2 MAC); precisions the device lacks are absent."""
    convolution_flops: dict[str, float]
    """The same of a 3 x 3 convolution with the gradients of its input and its weights: a device
    may multiply matrices in a precision and emulate these."""
    copy_bytes: float
    """Bytes read and written per second."""


def measure_rates(device: str, threads: int, *, repeats: int = 5) -> Rates:
    """Measure the roofs.

    Args:
        device: `cpu` or `cuda`.
        threads: Of the CPU.
        repeats: Runs of which the best counts.
    """
    full_float32()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return Rates(
            matmul_flops=_rates(_product, (SMALL_MATRIX, MATRIX[device]), device, repeats),
            convolution_flops=_rates(
                _convolution, (SMALL_CHANNELS, CHANNELS[device]), device, repeats
            ),
            copy_bytes=_copy(device, repeats),
        )
    finally:
        torch.set_num_threads(before)


def _rates(
    make: Callable[[int, torch.dtype, str], _Call],
    sides: tuple[int, int],
    device: str,
    repeats: int,
) -> dict[str, float]:
    """FLOP per second of each precision that the device has."""
    found = {}
    for name, dtype in DTYPES.items():
        # A missing kernel is a RuntimeError; NotImplementedError is one too.
        with suppress(RuntimeError):
            found[name] = _rate([make(side, dtype, device) for side in sides], device, repeats)
    return found


def _rate(calls: Sequence[_Call], device: str, repeats: int) -> float:
    (small, few), (call, flops) = calls
    rate = few / _best(small, device, 8 * repeats)  # others may interrupt
    return rate if flops / rate > PATIENCE else flops / _best(call, device, repeats)


def _product(side: int, dtype: torch.dtype, device: str) -> _Call:
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    return lambda: matrix @ matrix, 2 * side**3


def _convolution(channels: int, dtype: torch.dtype, device: str) -> _Call:
    """Forward and both gradients."""
    inputs = torch.ones(1, channels, CELLS, CELLS, dtype=dtype, device=device, requires_grad=True)
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, dtype=dtype, device=device)

    def call() -> object:
        output = layer(inputs)
        return torch.autograd.grad(output, (inputs, layer.weight), torch.ones_like(output))

    return call, 3 * 2 * 9 * channels**2 * CELLS**2


def _copy(device: str, repeats: int) -> float:
    source = torch.ones(COPIED[device] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source), device, repeats)


def _best(call: Callable[[], object], device: str, repeats: int) -> float:
    """Seconds of the fastest call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)
