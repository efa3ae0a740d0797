"""Which lines a profile has on a device, and which it does without.

What the device is good for is measured (`bench/cost/rates.py`), not looked up: the same processor
family
has half precision in one generation and emulates it, a hundred times slower, in another.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from bench.cost.baselines import baseline_work
from bench.cost.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.cost.load import Mode, Precision, Work
    from bench.cost.rates import Rates
    from bench.studies.study import Study

BASELINES = "baselines"
"""Stands for a study in the lines of the baselines."""
WORKS: tuple[Work, ...] = ("forward", "training step")
LEAST_SHARE = 0.5
"""Of float32's rate, for a precision to have lines. Half the bytes halve the time of memory at
most, so that arithmetic at less than half the rate cannot pay whatever binds a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which lines a profile has."""

    study: str = "components"
    sizes: tuple[str, ...] = ("micro", "paper")
    batches: Mapping[str, tuple[int, ...]]
    """Size to batch sizes."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
    """As far as the device has them; see `omissions`."""
    modes: tuple[Mode, ...] = ("eager", "compiled")
    """`compiled` is timed with the first batch size alone, on a CPU in float32 alone, because a
    compilation takes a minute."""
    device: str = "cpu"
    threads: int = 1
    repeats: int = 5
    """Most timed calls of a line; see `Load.seconds`."""
    all_variants: bool = True
    """Time every variant in float32 with the first batch size; else the reference alone. Other
    batch sizes, precisions and modes are timed for the reference only."""
    baselines: bool = True
    """Also time the baselines, in float32, eagerly."""
    timeout: float = 900.0
    """Seconds after which a line is given up."""

    def slow_at(self, size: str) -> bool:
        """Whether a call takes seconds, so that the one that counts traffic is warm-up enough."""
        return size == "paper" and self.device == "cpu"

    def has(self, mode: Mode, precision: Precision, batch: int, size: str) -> bool:
        """Whether the reference is timed so."""
        first = batch == self.batches[size][0]
        return mode == "eager" or (first and (precision == "fp32" or self.device != "cpu"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Omission:
    """Lines that a profile does without."""

    what: Precision | Mode
    works: tuple[Work, ...]
    reason: str


def options_for(device: str, *, quick: bool, compiled: bool) -> Options:
    """The usual lines for a device.

    Args:
        device: `cpu` or `cuda`.
        quick: Micro size, the reference alone, few repeats: shows that it works.
        compiled: Also time what torch.compile makes.
    """
    threads = torch.get_num_threads()
    modes: tuple[Mode, ...] = ("eager", "compiled") if compiled else ("eager",)
    if quick:
        return Options(
            sizes=("micro",), batches={"micro": (2,)}, modes=modes, device=device,
            threads=threads, repeats=2, all_variants=False, baselines=False,
        )  # fmt: skip
    batches: dict[str, tuple[int, ...]] = {"micro": (1, 8), "paper": (1, 2)}
    if device == "cuda":
        batches = {"micro": (1, 8, 64), "paper": (1, 4, 16)}
    return Options(
        batches=batches, modes=modes, device=device, threads=threads,
        repeats=50 if device == "cuda" else 5,
    )  # fmt: skip


def omissions(options: Options, rates: Rates) -> tuple[Omission, ...]:
    """What the device is not good for: precisions that it lacks or emulates, compilation.

    Args:
        options: The lines wished for.
        rates: Of the device.
    """
    found = [each for name in options.precisions for each in _too_slow(name, rates)]
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if "compiled" in options.modes and options.device == "cpu" and shutil.which(compiler) is None:
        reason = f"torch.compile needs a C++ compiler, and there is no {compiler}"
        found.append(Omission(what="compiled", works=WORKS, reason=reason))
    return tuple(found)


def _too_slow(precision: Precision, rates: Rates) -> Iterator[Omission]:
    """The training alone is left out where its convolutions are emulated and products are not."""
    kinds: tuple[tuple[str, Mapping[str, float], tuple[Work, ...]], ...] = (
        ("a matrix product", rates.matmul_flops, WORKS),
        ("a convolution with its gradients", rates.convolution_flops, ("training step",)),
    )
    for kind, measured, works in kinds:
        rate, single = measured.get(precision, 0.0), measured["fp32"]
        if rate < LEAST_SHARE * single:
            said = f"reaches {rate / 1e9:.3g} GFLOP/s, in fp32 {single / 1e9:.3g}"
            reason = f"{kind} {said if rate else 'has no kernel'}"
            yield Omission(what=precision, works=works, reason=reason)
            return


def loads(options: Options, study: Study, without: Sequence[Omission] = ()) -> tuple[Load, ...]:
    """The lines to be timed, in the order of the table."""
    gone = {(each.what, work) for each in without for work in each.works}
    return tuple(
        load
        for load in _loads(options, study)
        if not gone & {(load.precision, load.work), (load.mode, load.work)}
    )


def _loads(options: Options, study: Study) -> Iterator[Load]:
    for size in options.sizes:
        for row in study.rows if options.all_variants else (study.reference,):
            reference = row is study.reference
            for count in options.batches[size][: None if reference else 1]:
                plain = Load(
                    study=study.name, variant=row.name, size=size, work="forward", batch=count,
                    device=options.device, threads=options.threads, repeats=options.repeats,
                    warmup=0 if options.slow_at(size) else 1,
                )  # fmt: skip
                for mode in options.modes if reference else ("eager",):
                    for precision in options.precisions if reference else ("fp32",):
                        if options.has(mode, precision, count, size):
                            line = replace(plain, mode=mode, precision=precision)
                            yield from (replace(line, work=work) for work in WORKS)


def baseline_loads(options: Options) -> tuple[Load, ...]:
    """The baselines' lines, in the order of the table; at paper size the first batch size alone."""
    return tuple(
        Load(
            study=BASELINES, variant=name, size=size, work=work, batch=count,
            device=options.device, threads=options.threads,
            repeats=options.repeats, warmup=0 if options.slow_at(size) else 1,
        )
        for size in options.sizes
        for name, (work, _) in baseline_work(size).items()
        for count in options.batches[size][: 1 if size == "paper" else None]
    )  # fmt: skip
