"""One line of the profile: a load that is timed in a separate process, and its result."""

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
"""From image and tags to maps; from image, tags and maps to scores; from image to mask."""
LEAST_REPEATS = 2
Precision = Literal["fp32", "bf16"]
Mode = Literal["eager", "compiled"]
Status = Literal["ok", "out of memory", "failed", "timed out"]
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is timed, in a separate process.

    Raises:
        ValueError: If a number is too small.
    """

    study: str
    variant: str
    size: str
    """`micro` or `paper`."""
    work: Work
    """`forward`: logits at image size without gradients; the text is computed before.
    `training step`: encoding, losses, backward pass, optimiser. `text`: embeddings of all prompts
    and the gradients of their context. `BASELINE_WORK`: a step of a baseline."""
    batch: int
    side: int | None = None
    """Side of the images in pixels; None: that of the size."""
    classes: int | None = None
    """Number of classes with background; None: that of the size."""
    precision: Precision = "fp32"
    """Precision of `torch.autocast`; the weights stay in float32."""
    mode: Mode = "eager"
    device: str = "cpu"
    threads: int = 1
    repeats: int = 5
    """Largest number of timed calls."""
    seconds: float = 10.0
    """No call is started after this many seconds of timed calls, except the first
    `LEAST_REPEATS`."""
    warmup: int = 1
    """Number of calls that are not timed, after the one that counts FLOPs."""

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
    """The result of a load; unknown values are None."""

    status: Status
    error: str | None = None
    milliseconds: tuple[float, ...] = ()
    """Time of each call, in order."""
    peak_memory_mib: float | None = None
    """CPU: peak memory of the process, including the interpreter and torch; CUDA: peak memory of
    tensors."""
    base_memory_mib: float | None = None
    """CPU: the same before the network was made."""
    flops: int | None = None
    """FLOPs of one call in matrix products and convolutions, FLOP = 2 MAC."""


def run_apart(load: Load, *, timeout: float) -> Measured:
    """Measure a load in a separate process; its failure is returned as a status.

    The load is given up after `timeout` seconds.
    """
    words = ("bench.cost.worker", json.dumps(asdict(load)))
    found = run_module(words, timeout=timeout)
    return Measured(**{**found, "milliseconds": tuple(found.get("milliseconds", ()))})


def run_module(words: Sequence[str], *, timeout: float) -> dict[str, Any]:
    """Run a Python module; return the JSON of its last line of stdout, or how it failed.

    `words` are its name and arguments. It is given up after `timeout` seconds. On failure the
    result has only `status` and `error`, as in `Measured`.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", *words], capture_output=True, text=True, timeout=timeout,
            check=False, cwd=_CHECKOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"status": "timed out", "error": f"no result after {timeout:g} s"}
    if done.returncode < 0:  # a signal: the kernel kills processes that use too much memory
        return {"status": "out of memory", "error": f"ended by signal {-done.returncode}"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        return {"status": "failed", "error": lines[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
