"""Times one load in a process of its own, so that its peak of memory is its own.

Run: python -m bench.cost.worker '{"study": "components", "variant": "full", ...}'; the last
line of stdout is a `Measured` as JSON. `bench/cost/profile.py` starts it.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from bench.cost.baselines import baseline_task
from bench.cost.load import BASELINE_WORK, LEAST_REPEATS, Load, Measured, Task
from bench.cost.subject import LibraryStep, config_at, make_subject, random_batch
from bench.studies.study import load_study
from weakclip.config import WeakCLIPConfig
from weakclip.training.execution import full_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import nn

    from bench.cost.subject import Subject

MIB = 1 << 20
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


class TrafficCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of the tensors that operators read and write; views move nothing.

    FLOPs as well, by torch's own formulas: its `FlopCounterMode` cannot look at Grad-CAM.
    """

    def __init__(self, components: Mapping[str, nn.Module] | None = None) -> None:
        """Count; `components` are told apart in `component_flops`."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.flops = 0
        self.component_flops: Counter[str] = Counter()
        self._last = "other"
        self._owners = {
            weight.untyped_storage().data_ptr(): name
            for name, part in (components or {}).items()
            for weight in part.parameters()
        }

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 (torch's signature)
        types: Any,  # noqa: ANN401
        args: Any = (),  # noqa: ANN401
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Carry out an operator and count it."""
        outputs = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self._add(int(formula(*args, **(kwargs or {}), out_val=outputs)), args)
        if not func.is_view:
            touched = tree_leaves((args, kwargs or {}, outputs))
            self.bytes += sum(part.nbytes for part in touched if isinstance(part, torch.Tensor))
        return outputs

    def _add(self, flops: int, args: Any) -> None:  # noqa: ANN401
        self.flops += flops
        for part in tree_leaves(args) if self._owners else ():
            if isinstance(part, torch.Tensor):
                self._last = self._owners.get(part.untyped_storage().data_ptr(), self._last)
        self.component_flops[self._last] += flops


class EnergyMeter:
    """Joules of the current GPU by NVML since its driver started; none where there is no NVML."""

    def __init__(self, device: str) -> None:
        self._read: Callable[[], float] | None = None
        if device == "cuda":
            try:
                nvml = importlib.import_module("pynvml")
                nvml.nvmlInit()
                # By its UUID: NVML's numbers do not follow CUDA_VISIBLE_DEVICES.
                uuid = f"GPU-{torch.cuda.get_device_properties().uuid}"
                handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
                nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            except Exception:  # no NVML, no energy; its errors share no class
                return
            self._read = lambda: float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3

    def joules(self) -> float | None:
        """The counter."""
        return None if self._read is None else self._read()


def measure(load: Load) -> Measured:
    """Carry out a load; running out of memory is a result."""
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
    task = baseline_task(load) if load.work in BASELINE_WORK else _task(load)
    call = task.call
    with TrafficCounter(task.components) as traffic:
        call()
    if load.mode == "compiled":
        for part in task.parts:
            part.compile()
        call()  # compiles
    for _ in range(load.warmup):
        call()
    _synchronise(load.device)
    meter = EnergyMeter(load.device)
    before = meter.joules()
    times = timed(lambda: _milliseconds(call, load.device), load)
    after = meter.joules()
    return Measured(
        status="ok",
        milliseconds=tuple(times),
        traffic_bytes=traffic.bytes,
        peak_memory_mib=_peak_mib(load.device),
        base_memory_mib=base if load.device == "cpu" else None,
        energy_joules=None if before is None or after is None else after - before,
        flops=traffic.flops,
        component_flops=dict(traffic.component_flops),
        parameters=task.parameters,
    )


def timed(call: Callable[[], float], load: Load) -> list[float]:
    """Milliseconds of each timed call: as many as the load allows in its time.

    Args:
        call: Carries out a call and returns its milliseconds.
        load: Says how many, and for how long.
    """
    times: list[float] = []
    while len(times) < load.repeats:
        if len(times) >= LEAST_REPEATS and sum(times) >= 1e3 * load.seconds:
            break
        times.append(call())
    return times


def _task(load: Load) -> Task:
    subject = _subject(load)
    parts = (subject.model.image_tower, subject.model)
    return Task(call=_call(load, subject), parts=parts)


def _subject(load: Load) -> Subject:
    study = load_study(load.study)
    (variant,) = study.select((load.variant,))
    config, reference = variant.config, study.reference.config
    if not isinstance(config, WeakCLIPConfig) or not isinstance(reference, WeakCLIPConfig):
        raise RuntimeError(f"study {study.name!r} has no configurations of WeakCLIP alone")
    config = config_at(load.size, config, reference)
    return make_subject(config, load.size, load.device, classes=load.classes)


def _call(load: Load, subject: Subject) -> Callable[[], object]:
    if load.work == "text":
        return lambda: subject.model.text().sum().backward()  # type: ignore[no-untyped-call]
    batch = random_batch(load.size, load.batch, load.device, side=load.side, classes=load.classes)
    if load.work == "training step":
        step = LibraryStep(subject, autocast=lambda: _autocast(load))
        return lambda: step(batch)
    model = subject.model.eval()
    with torch.no_grad():
        text = model.text()

    @torch.no_grad()
    def forward() -> object:
        with _autocast(load):
            return model.segment(batch.images, text=text)

    return forward


def _autocast(load: Load) -> AbstractContextManager[object]:
    if load.precision == "fp32":
        return nullcontext()
    return torch.autocast(load.device, dtype=DTYPES[load.precision])


def _milliseconds(call: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    call()
    _synchronise(device)
    return (time.perf_counter() - start) * 1e3


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peak_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    status = Path("/proc/self/status")
    if status.exists():  # not ru_maxrss: on Linux a child starts with its parent's
        lines = status.read_text(encoding="ascii").splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) * 1024 / MIB
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the load given as JSON."""
    (text,) = sys.argv[1:] if arguments is None else arguments
    measured = measure(Load(**json.loads(text)))
    sys.stdout.write(json.dumps(asdict(measured), allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
