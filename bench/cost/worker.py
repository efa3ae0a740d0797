"""Times one load in a separate process, so that its peak memory can be measured.

Run: python -m bench.cost.worker '{"study": "components", "variant": "full", ...}'; the last
line of stdout is a `Measured` as JSON. `bench.cost.load.run_apart` starts it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.cost.baselines import baseline_call
from bench.cost.load import BASELINE_WORK, LEAST_REPEATS, Load, Measured
from bench.cost.subject import LibraryStep, configs_at, make_subject, random_batch
from bench.errors import unknown
from bench.studies.study import load_study
from weakclip.training.execution import full_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from torch import nn

MIB = 1 << 20
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
MATRIX = {"cpu": 1536, "cuda": 8192}
"""Side of the matrices whose product gives a device's rate; large enough to be compute-bound."""
SMALL_MATRIX = 256
"""Side that is tried first, and used if the large product is too slow (emulated precision)."""
PATIENCE = 2.0
"""Longest acceptable time of one product in seconds."""
NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums FLOPs by torch's formulas; torch's own `FlopCounterMode` fails on Grad-CAM."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 (torch's signature)
        types: Any,  # noqa: ANN401
        args: Any = (),  # noqa: ANN401
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Call an operator and count its FLOPs."""
        outputs = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **(kwargs or {}), out_val=outputs))
        return outputs


def measure(load: Load) -> Measured:
    """Measure a load; errors such as lack of memory are returned as a status."""
    if load.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    base = _peak_mib(load.device)
    try:
        return _measure(load, base)
    except (RuntimeError, MemoryError, FloatingPointError) as error:
        text = str(error).strip().splitlines()
        short = f"{type(error).__name__}: {text[0] if text else ''}"[:300]
        full = isinstance(error, MemoryError) or any(word in str(error) for word in NO_MEMORY)
        return Measured(
            status="out of memory" if full else "failed", error=short, base_memory_mib=base
        )


def _measure(load: Load, base: float | None) -> Measured:
    full_float32()
    torch.set_num_threads(load.threads)
    call, parts = (
        (baseline_call(load), ()) if load.work in BASELINE_WORK else _call(load)
    )  # fmt: skip
    with FlopCounter() as counter:
        call()
    if load.mode == "compiled":
        for part in parts:
            part.compile()
        call()  # compiles
    for _ in range(load.warmup):
        call()
    times = timed(lambda: milliseconds(call, load.device), load)
    return Measured(
        status="ok",
        milliseconds=tuple(times),
        peak_memory_mib=_peak_mib(load.device),
        base_memory_mib=base if load.device == "cpu" else None,
        flops=counter.flops,
    )


def timed(call: Callable[[], float], load: Load) -> list[float]:
    """Milliseconds of each timed call, within the number of repeats and the time of the load."""
    times: list[float] = []
    while len(times) < load.repeats:
        if len(times) >= LEAST_REPEATS and sum(times) >= 1e3 * load.seconds:
            break
        times.append(call())
    return times


def matmul_rates(device: str, threads: int, *, repeats: int = 5) -> dict[str, float]:
    """FLOP per second (FLOP = 2 MAC) of a large matrix product, in each precision.

    The rate is measured, because virtual or shared machines are slower than the data sheet of their
    processor says. The best of several products counts. A precision without a kernel is absent.
    """
    full_float32()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = {}
    try:
        for name, dtype in DTYPES.items():
            with suppress(RuntimeError):  # no kernel
                rate = _rate(SMALL_MATRIX, dtype, device, 8 * repeats)
                large = MATRIX.get(device, SMALL_MATRIX)
                slow = 2 * large**3 / rate > PATIENCE
                found[name] = rate if slow else _rate(large, dtype, device, repeats)
    finally:
        torch.set_num_threads(before)
    return found


def _rate(side: int, dtype: torch.dtype, device: str, repeats: int) -> float:
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    matrix @ matrix
    best = min(milliseconds(lambda: matrix @ matrix, device) for _ in range(repeats))
    return 2 * side**3 / best * 1e3


def milliseconds(call: Callable[[], object], device: str) -> float:
    """Wall-clock time of one call, including its work on the device but no earlier work."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


def _call(load: Load) -> tuple[Callable[[], object], Sequence[nn.Module]]:
    """The timed function of a WeakCLIP, and its modules for torch.compile, inner ones first."""
    configs = configs_at(load_study(load.study), load.size)
    if load.variant not in configs:
        raise unknown(f"variant of study {load.study!r}", load.variant, configs)
    subject = make_subject(configs[load.variant], load.size, load.device, classes=load.classes)
    model = subject.model
    parts = (model.image_tower, model)
    if load.work == "text":
        return lambda: model.text().sum().backward(), parts  # type: ignore[no-untyped-call]
    batch = random_batch(load.size, load.batch, load.device, side=load.side, classes=load.classes)
    if load.work == "training step":
        step = LibraryStep(subject, autocast=lambda: _autocast(load))
        return lambda: step(batch), parts
    model.eval()
    with torch.no_grad():
        text = model.text()

    @torch.no_grad()
    def forward() -> object:
        with _autocast(load):
            return model.segment(batch.images, text=text)

    return forward, parts


def _autocast(load: Load) -> AbstractContextManager[object]:
    if load.precision == "fp32":
        return nullcontext()
    return torch.autocast(load.device, dtype=DTYPES[load.precision])


def _peak_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    status = Path("/proc/self/status")
    if status.exists():  # not ru_maxrss: on Linux a child process inherits that of its parent
        lines = status.read_text(encoding="ascii").splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) * 1024 / MIB
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the load that is given as JSON, and print the result as JSON."""
    (text,) = sys.argv[1:] if arguments is None else arguments
    measured = measure(Load(**json.loads(text)))
    sys.stdout.write(json.dumps(asdict(measured), allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
