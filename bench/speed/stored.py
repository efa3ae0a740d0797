"""Runs the speed tests in `tests/perf`, stores them, and compares them with the last stored run.

Times of different machines cannot be compared. If there is no stored run of this machine, a
comparison is refused before anything is timed.

Run: python -m bench.speed.stored [--save] [--compare] [WORDS OF PYTEST]     (nox -s bench -- ...)
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_benchmark.plugin import pytest_benchmark_generate_machine_info

from bench import console
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STORAGE = Path("artifacts/benchmarks")
TESTS = "tests/perf"
WORST = "median:15%"
"""Largest allowed slowdown of a test, in pytest-benchmark's notation."""
SAME = "ignore::pytest_benchmark.logger.PytestBenchmarkWarning"
"""Silences the warning of pytest-benchmark about different machines, which also depends on the
processor's clock rate; machines are compared by `identity`."""


def identity(machine: Mapping[str, Any]) -> tuple[str, str, int]:
    """Host, processor and number of cores, from `machine_info` of pytest-benchmark."""
    processor = machine["cpu"]
    return machine["node"], str(processor.get("brand_raw")), processor["count"]


def last_run(storage: Path, machine: Mapping[str, Any]) -> Path:
    """File of the last run of a machine in a folder with the runs of all machines.

    Raises:
        BenchError: If there is no run of the machine.
    """
    runs = {path: json.loads(path.read_text(encoding="utf-8")) for path in storage.rglob("*.json")}
    wanted = identity(machine)
    mine = [path for path, run in runs.items() if identity(run["machine_info"]) == wanted]
    if not mine:
        raise BenchError(
            f"nothing to compare with: of {len(runs)} runs below {storage} none is of this machine "
            f"({', '.join(map(str, wanted))} cores), and others' are not compared; "
            "`nox -s bench -- --save` stores one"
        )
    return max(mine, key=lambda path: str(runs[path]["datetime"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests; return 1 if one failed or is slower, 2 without a run to compare with."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.stored", allow_abbrev=False)
    add, switch = parser.add_argument, argparse.BooleanOptionalAction
    add("--save", action=switch, default=False, help="store the run")
    add("--compare", action=switch, default=False,
        help=f"fail if slower than the last stored run of this machine ({WORST})")  # fmt: skip
    options, words = parser.parse_known_args(arguments)
    command = [sys.executable, "-m", "pytest", "--benchmark-only"]
    command.append(f"--benchmark-storage={STORAGE / platform.node()}")
    if options.save:
        command.append("--benchmark-autosave")
    if options.compare:
        try:
            last = last_run(STORAGE, pytest_benchmark_generate_machine_info())
        except BenchError as error:
            console.say(str(error))
            return 2
        command += [f"--benchmark-compare={last}", f"--benchmark-compare-fail={WORST}", "-W", SAME]
    named = words and not words[0].startswith("-")
    return subprocess.run([*command, *([] if named else [TESTS]), *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
