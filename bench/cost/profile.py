"""The cost of a study's variants and of the baselines: parameters, FLOPs, time and memory.

`python -m bench profile` measures and writes `results/perf/profile.json`; the tables are made from
that file only. Each timed line has a separate process, so that its peak memory is known. A line
that runs out of memory or time is a row with its error.

Run: python -m bench profile            (minutes; add --quick for seconds)
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bench.cost.baselines import baseline_parameters, baseline_work
from bench.cost.counts import flop_costs, parameter_counts
from bench.cost.load import Load, run_apart, run_module
from bench.cost.subject import CLASSES, SIDES, configs_at, make_subject
from bench.cost.worker import matmul_rates
from bench.errors import BenchError
from bench.runs.provenance import checkout_state, device_name, utc_now, versions
from bench.studies.study import load_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bench.cost.load import Mode, Precision, Work
    from bench.studies.study import Study

SCHEMA_VERSION = 2
BASELINES = "baselines"
"""Name in the column `study` of the lines of baselines."""
WORKS: tuple[Work, ...] = ("forward", "training step")
LEAST_SHARE = 0.5
"""bfloat16 is profiled if its rate is at least this fraction of float32's. Below, it is emulated:
half the bytes can at most halve the time of memory access, so it cannot be faster."""
BATCHES: dict[tuple[str, str], tuple[int, ...]] = {
    ("cpu", "micro"): (1, 8), ("cpu", "paper"): (1, 2),
    ("cuda", "micro"): (1, 8, 64), ("cuda", "paper"): (1, 4, 16),
}  # fmt: skip
"""Device and size -> batch sizes."""
RELEASE_BATCH = 2
"""Batch size of the step that is compared with the release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The lines of a profile."""

    study: str = "components"
    sizes: tuple[str, ...] = ("micro", "paper")
    device: str = "cpu"
    threads: int = 1
    repeats: int = 5
    """Largest number of timed calls of a line; see `Load.seconds`."""
    compiled: bool = True
    """Also time the reference with torch.compile, but only with the first batch size, and on a CPU
    only in float32, because a compilation takes a minute."""
    others: bool = True
    """Also time the other variants and the baselines, in float32. Variants have batch size 1; other
    batch sizes, precisions and modes are timed for the reference only."""
    timeout: float = 900.0
    """Seconds after which a line is given up."""

    def slow_at(self, size: str) -> bool:
        """Whether a call takes seconds, so that the call that counts FLOPs suffices as warm-up."""
        return size == "paper" and self.device == "cpu"


def options_for(device: str, *, quick: bool) -> Options:
    """The default options for `cpu` or `cuda`.

    If `quick`, only micro size and the reference are timed, with two calls each.
    """
    threads = torch.get_num_threads()
    if quick:
        return Options(
            sizes=("micro",), device=device, threads=threads, repeats=2, compiled=False,
            others=False,
        )  # fmt: skip
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    return Options(
        device=device, threads=threads, repeats=50 if device == "cuda" else 5,
        compiled=device == "cuda" or shutil.which(compiler) is not None,
    )  # fmt: skip


def loads(options: Options, study: Study, rates: Mapping[str, float]) -> Iterator[Load]:
    """The lines to be timed, in the order of the table; rates are FLOP per second by precision."""
    bf16 = rates.get("bf16", 0.0) >= LEAST_SHARE * rates["fp32"]
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if bf16 else ("fp32",)
    for size in options.sizes:
        plain = Load(
            study=study.name, variant=study.reference.name, size=size, work="forward", batch=1,
            device=options.device, threads=options.threads, repeats=options.repeats,
            warmup=0 if options.slow_at(size) else 1,
        )  # fmt: skip
        batches = BATCHES[options.device, size]
        modes: tuple[Mode, ...] = ("eager", "compiled") if options.compiled else ("eager",)
        for count in batches:
            for mode in modes if count == batches[0] else ("eager",):
                alone = mode == "compiled" and options.device == "cpu"
                for precision in ("fp32",) if alone else precisions:
                    line = replace(plain, batch=count, mode=mode, precision=precision)
                    yield from (replace(line, work=work) for work in WORKS)
        if options.others:
            for row in study.variants:
                yield from (replace(plain, variant=row.name, work=work) for work in WORKS)
            for name, (work, _) in baseline_work(size).items():
                for count in batches[: 1 if size == "paper" else None]:
                    yield replace(plain, study=BASELINES, variant=name, work=work, batch=count)


def make_profile(
    options: Options, *, command: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Measure all lines and return the content of `profile.json`.

    The command line is kept in it. `report` is called with a line of text for every finished line.

    Raises:
        BenchError: If there are fewer than 2 repeats, or a row of the study is not a configuration
            of WeakCLIP.
    """
    if options.repeats < 2:
        raise BenchError(f"--repeats: expected 2 or more, got {options.repeats}")
    study = load_study(options.study)
    environment = environment_of(options, command)
    costs = [cost for size in options.sizes for cost in _costs(study, size)]
    report("parameters and FLOPs")
    rates = matmul_rates(options.device, options.threads)
    speeds = []
    for load in loads(options, study, rates):
        measured = run_apart(load, timeout=options.timeout)
        report(f"{load.size} {load.variant} {load.work} x{load.batch}: {measured.status}")
        speeds.append({**asdict(load), **asdict(measured)})
    releases = []
    for size in options.sizes:
        rounds = 2 if options.slow_at(size) else min(options.repeats, 5)
        words = (
            "bench.cost.release_cost", "--size", size, "--batch", str(RELEASE_BATCH),
            "--rounds", str(rounds), "--threads", str(options.threads),
            "--device", options.device,
        )  # fmt: skip
        found = run_module(words, timeout=options.timeout)
        releases.append({"size": size, "error": None, **found})
        report(f"{size} release: {releases[-1]['error'] or 'ok'}")
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": environment,
        "matmul_flops": rates,
        "costs": costs,
        "speeds": speeds,
        "release_costs": releases,
    }


def environment_of(options: Options, command: str) -> dict[str, object]:
    """The provenance of a measurement: machine, load before it, versions, commit and time."""
    commit, dirty = checkout_state()
    cuda = torch.version.cuda if options.device == "cuda" else None
    return {
        "command": command,
        "device": device_name(options.device),
        "threads": options.threads,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "versions": {**versions(), "cuda": cuda},
        "commit": commit,
        "dirty": dirty,
        "started_utc": utc_now(),
        "sides": {size: SIDES[size] for size in options.sizes},
        "classes": CLASSES,
    }


def read_versioned(path: Path, version: int, way_out: str) -> dict[str, Any]:
    """The content of a JSON file of measurements; `way_out` is the advice in the error message.

    Raises:
        BenchError: If the file is missing, not readable, or of another `schema_version`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path.name}: not readable ({error}); {way_out}") from error
    found = content.get("schema_version") if isinstance(content, dict) else None
    if found != version:
        raise BenchError(f"{path.name}: expected schema_version {version}, got {found}; {way_out}")
    return dict(content)


def _costs(study: Study, size: str) -> Iterator[dict[str, object]]:
    """Parameters and FLOPs per image of each component; those of baselines have no FLOPs."""
    for name, config in configs_at(study, size).items():
        model = make_subject(config, size).model
        parameters, flops = parameter_counts(model), flop_costs(model, 1, SIDES[size])
        for component in dict.fromkeys([*parameters, *flops]):
            yield {
                "study": study.name, "variant": name, "size": size, "component": component,
                "parameters": parameters.get(component),
                "flops": asdict(flops[component]) if component in flops else None,
            }  # fmt: skip
    for name in baseline_work(size):
        for component, sizes in baseline_parameters(name, size).items():
            yield {
                "study": BASELINES, "variant": name, "size": size, "component": component,
                "parameters": sizes, "flops": None,
            }  # fmt: skip
