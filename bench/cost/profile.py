"""What a study's variants cost: parameters, FLOPs, time, memory, and how close to the roofs.

`python -m bench profile` measures and writes `results/perf/profile.json`; the tables and the
figure are made from that file and nothing else. Each line that is timed has a process of its own:
its peak of memory is its own, and one that runs out of memory or of time is a row with its error.

Run: python -m bench profile            (minutes; add --quick for seconds)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from bench.cost.baselines import baseline_work, dead_parameters
from bench.cost.counts import flop_costs, parameter_costs
from bench.cost.load import Measured
from bench.cost.plan import BASELINES, baseline_loads, loads, omissions
from bench.cost.rates import measure_rates
from bench.cost.subject import CLASSES, SIDES, config_at, make_subject
from bench.errors import BenchError
from bench.runs.provenance import checkout_state, device_name, utc_now, versions
from bench.studies.study import load_study
from weakclip.config import WeakCLIPConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.cost.load import Load
    from bench.cost.plan import Options
    from bench.studies.study import Study

SCHEMA_VERSION = 1
RELEASE_BATCH = 2
"""Images of the step that is compared with the release's work."""
SLOW_ROUNDS = 2
"""Most rounds of that comparison at paper size on a CPU, where one takes half a minute."""
_CHECKOUT = Path(__file__).resolve().parents[2]


def make_profile(
    options: Options, *, command: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Measure everything.

    Args:
        options: Which lines.
        command: What a person typed, for the record.
        report: Told of every line that is done.

    Returns:
        The content of `profile.json`.

    Raises:
        BenchError: If the study has configurations that are not WeakCLIP's alone.
    """
    if options.repeats < 2:
        raise BenchError(f"--repeats: expected 2 or more, got {options.repeats}")
    study = load_study(options.study)
    environment = environment_of(options, command)
    costs = [cost for size in options.sizes for cost in _costs(study, size, report)]
    rates = measure_rates(options.device, options.threads)
    left_out = omissions(options, rates)
    speeds = _measured(loads(options, study, left_out), options, report)
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "environment": environment,
        "rates": asdict(rates),
        "costs": costs,
        "left_out": [asdict(omission) for omission in left_out],
        "speeds": speeds,
        "release_costs": [_release_cost(size, options, report) for size in options.sizes],
    }
    if options.baselines:
        content[BASELINES] = make_baselines(options, command=command, report=report)
    return content


def make_baselines(
    options: Options, *, command: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the baselines; arguments as of `make_profile`.

    Returns:
        Where and when (`environment`), and a line a baseline, size and batch (`speeds`).
    """
    environment = environment_of(options, command)
    speeds = _measured(baseline_loads(options), options, report)
    for size in options.sizes:
        for name in baseline_work(size):
            mine = [speed for speed in speeds if (speed["size"], speed["variant"]) == (size, name)]
            _add_dead(mine, dead_parameters(name, size))
            report(f"{size} {name}: parameters")
    return {"environment": environment, "speeds": speeds}


def _add_dead(speeds: Sequence[dict[str, Any]], dead: Mapping[str, int]) -> None:
    for speed in speeds:
        for component, sizes in (speed["parameters"] or {}).items():
            sizes["dead"] = dead[component]


def _measured(
    lines: Sequence[Load], options: Options, report: Callable[[str], None]
) -> list[dict[str, Any]]:
    found = []
    for load in lines:
        measured = run_apart(load, timeout=options.timeout)
        report(f"{load.size} {load.variant} {load.work} x{load.batch}: {measured.status}")
        found.append({**asdict(load), **asdict(measured)})
    return found


def run_apart(load: Load, *, timeout: float) -> Measured:
    """Measure a load in a process of its own, whatever becomes of that process."""
    command = [sys.executable, "-m", "bench.cost.worker", json.dumps(asdict(load))]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=_CHECKOUT,
        )
    except subprocess.TimeoutExpired:
        return Measured(status="timed out", error=f"no result after {timeout:g} s")
    if done.returncode < 0:  # a signal: the kernel kills what takes too much memory
        return Measured(status="out of memory", error=f"ended by signal {-done.returncode}")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return Measured(status="failed", error=lines[-1][:300] if lines else "no message")
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Measured(**{**values, "milliseconds": tuple(values["milliseconds"])})


def environment_of(options: Options, command: str) -> dict[str, object]:
    """What a record says of where, when and with what it was made, and the load just before."""
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


def read_profile(path: Path) -> dict[str, Any]:
    """The content of a `profile.json`.

    Raises:
        BenchError: If it is not there, not readable, or of another version.
    """
    way_out = "`python -m bench profile` makes it"
    return read_versioned(path, SCHEMA_VERSION, "not a readable profile", way_out)


def read_versioned(path: Path, version: int, problem: str, way_out: str) -> dict[str, Any]:
    """The content of a JSON file of measurements.

    Args:
        path: The file.
        version: Its `schema_version`.
        problem: What to call it if it is not there or no JSON.
        way_out: What makes it.

    Raises:
        BenchError: If it is not there, not readable, or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BenchError(f"{path.name}: {problem} ({error}); {way_out}") from error
    found = content.get("schema_version") if isinstance(content, dict) else None
    if found != version:
        raise BenchError(f"{path.name}: expected schema_version {version}, got {found}; {way_out}")
    return dict(content)


def _release_cost(size: str, options: Options, report: Callable[[str], None]) -> dict[str, Any]:
    """What `python -m bench.cost.release_cost` says, or why it says nothing."""
    words = ["--size", size, "--batch", str(RELEASE_BATCH)]
    rounds = min(options.repeats, SLOW_ROUNDS if options.slow_at(size) else 5)
    words += ["--rounds", str(rounds)]
    words += ["--threads", str(options.threads), "--device", options.device]
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.cost.release_cost", *words, "--out", folder]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=options.timeout, check=False,
                cwd=_CHECKOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"size": size, "error": f"no result after {options.timeout:g} s"}
    report(f"{size} release cost: exit {done.returncode}")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        return {"size": size, "error": lines[-1][:300]}
    return {"error": None, **json.loads(done.stdout.splitlines()[-1])}


def _costs(study: Study, size: str, report: Callable[[str], None]) -> Sequence[dict[str, object]]:
    reference = study.reference.config
    found: list[dict[str, object]] = []
    for row in study.rows:
        if not isinstance(row.config, WeakCLIPConfig) or not isinstance(reference, WeakCLIPConfig):
            raise BenchError(
                f"profile: expected a study of WeakCLIP's own configurations, got {study.name!r}"
            )
        config = config_at(size, row.config, reference)
        flops = flop_costs(config, size)
        parameters = parameter_costs(make_subject(config, size), size)
        found += [
            {
                "variant": row.name,
                "size": size,
                "component": name,
                "parameters": asdict(parameters[name]) if name in parameters else None,
                "flops": asdict(flops[name]) if name in flops else None,
            }
            for name in dict.fromkeys([*parameters, *flops])
        ]
        report(f"{size} {row.name}: parameters and FLOPs")
    return found
