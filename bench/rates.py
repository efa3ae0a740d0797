"""How fast a device multiplies matrices and copies memory: the roofs of the roofline.

Measured, not read off a data sheet: a virtual machine or a shared one has other roofs than its
processor. One best of several runs is what the device can do; what others take away is not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MATRIX = {"cpu": 1536, "cuda": 8192}
"""Side of the matrices: large enough to be bound by arithmetic."""
SMALL_MATRIX = 256
"""Tried first, and used for a precision that the device only emulates, slowly."""
PATIENCE = 2.0
"""Seconds that one product may take."""
COPIED = {"cpu": 1 << 26, "cuda": 1 << 30}
"""Bytes of the copied array: several times the largest cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Roofs of a device."""

    matmul_flops: dict[str, float]
    """Precision to FLOP per second (FLOP = 2 MAC); precisions the device lacks are absent."""
    copy_bytes: float
    """Bytes read and written per second."""


def measure_rates(device: str, threads: int, *, repeats: int = 5) -> Rates:
    """Measure the roofs.

    Args:
        device: `cpu` or `cuda`.
        threads: Of the CPU.
        repeats: Runs of which the best counts.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = {name: _matmul(dtype, device, repeats) for name, dtype in DTYPES.items()}
        return Rates(
            matmul_flops={name: rate for name, rate in found.items() if rate is not None},
            copy_bytes=_copy(device, repeats),
        )
    finally:
        torch.set_num_threads(before)


def _matmul(dtype: torch.dtype, device: str, repeats: int) -> float | None:
    try:
        rate = _product_rate(SMALL_MATRIX, dtype, device, 8 * repeats)  # others may interrupt
        if 2 * MATRIX[device] ** 3 / rate > PATIENCE:
            return rate
        return _product_rate(MATRIX[device], dtype, device, repeats)
    except RuntimeError:  # no kernel for this precision
        return None


def _product_rate(side: int, dtype: torch.dtype, device: str, repeats: int) -> float:
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    return 2 * side**3 / _best(lambda: matrix @ matrix, device, repeats)


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
