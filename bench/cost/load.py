"""One line of the profile: what is timed in a process of its own, and what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

BaselineWork = Literal["cam", "refinement", "mask"]
Work = Literal["forward", "training step", "text"] | BaselineWork
BASELINE_WORK: tuple[BaselineWork, ...] = ("cam", "refinement", "mask")
"""Image and tags to maps; image, tags and maps to scores; image to mask."""
LEAST_REPEATS = 2
Precision = Literal["fp32", "bf16"]
Mode = Literal["eager", "compiled"]
Status = Literal["ok", "out of memory", "failed", "timed out"]
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is timed, in a process of its own."""

    study: str
    variant: str
    size: str
    """`micro` or `paper`."""
    work: Work
    """`forward`: logits at the size of the images, text computed before, no gradients.
    `training step`: encoding, losses, backward pass, optimiser. `BASELINE_WORK`: a baseline's.
    `text`: embeddings of all prompts and the gradients of their context."""
    batch: int
    side: int | None = None
    """Of the images, pixels; none: the size's own."""
    classes: int | None = None
    """With background; none: the size's own."""
    precision: Precision = "fp32"
    """Of `torch.autocast`; the weights stay in float32."""
    mode: Mode = "eager"
    device: str = "cpu"
    threads: int = 1
    repeats: int = 5
    """Most calls that are timed."""
    seconds: float = 10.0
    """After so many seconds of timed calls none is begun; `LEAST_REPEATS` are made anyway."""
    warmup: int = 1
    """Calls that are not timed; one more, before them, counts FLOPs and may do alone."""

    def __post_init__(self) -> None:
        few = self.repeats < LEAST_REPEATS
        if self.batch < 1 or few or self.warmup < 0 or self.threads < 1:
            raise ValueError(
                "load: expected a batch and threads of at least 1 and 2 repeats, got "
                f"batch {self.batch}, warm-up {self.warmup}, threads {self.threads}, "
                f"{self.repeats} repeats"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a load; unknowns are none."""

    status: Status
    error: str | None = None
    milliseconds: tuple[float, ...] = ()
    """Of each timed call, in order."""
    peak_memory_mib: float | None = None
    """CPU: most memory the process ever held, the interpreter and torch included; CUDA: most
    that tensors held."""
    base_memory_mib: float | None = None
    """CPU: the same before the network was made."""
    flops: int | None = None
    """Of one call: matrix products and convolutions as carried out, FLOP = 2 MAC."""


def run_apart(load: Load, *, timeout: float) -> Measured:
    """Measure a load in a process of its own, whatever becomes of that process.

    Args:
        load: What to measure.
        timeout: Seconds after which it is given up.
    """
    words = ("bench.cost.worker", json.dumps(asdict(load)))
    found = run_module(words, timeout=timeout)
    if found.keys() == {"status", "error"}:
        return Measured(**found)
    return Measured(**{**found, "milliseconds": tuple(found["milliseconds"])})


def run_module(words: Sequence[str], *, timeout: float) -> dict[str, Any]:
    """Run a Python module; return the JSON of its last line, or how it failed.

    Args:
        words: Name of the module and its arguments.
        timeout: Seconds after which it is given up.

    Returns:
        On failure `status` and `error` alone, as in `Measured`.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", *words], capture_output=True, text=True, timeout=timeout,
            check=False, cwd=_CHECKOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"status": "timed out", "error": f"no result after {timeout:g} s"}
    if done.returncode < 0:  # a signal: the kernel kills what takes too much memory
        return {"status": "out of memory", "error": f"ended by signal {-done.returncode}"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        return {"status": "failed", "error": lines[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
