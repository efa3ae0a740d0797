"""Checks in eight minutes that a GPU gives the same results as the CPU, and measures its speed.

The parts (`gpu_parts.py`) are run in order of importance, each in a separate process with a time
limit. `gpu.json` and `gpu.md` are written after each part, so that finished parts are kept if the
run is interrupted. A part that fails or takes too long is a line with its error.

Run: python -m bench.speed.gpu --out results/perf          (nox -s gpu)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench import console
from bench.cost.load import run_module
from bench.cost.profile import Options, environment_of
from bench.cost.table import table
from bench.runs.store import write_atomically
from bench.speed.gpu_parts import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA_VERSION = 1
LIMIT = 480.0
"""Time limit of all parts together, seconds."""


def markdown(record: Mapping[str, Any]) -> str:
    """The Markdown page for the content of a `gpu.json`."""
    where = record["environment"]
    versions = ", ".join(f"{name} {value}" for name, value in where["versions"].items())
    dirty = " with uncommitted changes" if where["dirty"] else ""
    lines = [
        "# What a GPU does",
        "",
        f"Made by `{where['command']}` on {where['device']}, driver {where['driver']}; {versions}; "
        f"commit {str(where['commit'])[:12]}{dirty}, {where['started_utc']}.",
    ]
    for name, part in record["parts"].items():
        lines += ["", f"## {name.capitalize()}", "", f"{part['about']} {part['seconds']:.0f} s."]
        if part["error"]:
            lines += ["", f"{part['status']}: {part['error']}"]
            continue
        headers = list(dict.fromkeys(key for row in part["rows"] for key in row))
        cells = ([_cell(row.get(key)) for key in headers] for row in part["rows"])
        lines += ["", *table(headers, cells)]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def made_with(command: str) -> dict[str, object]:
    """Provenance of the measurement, with the version of the driver."""
    options = Options(device="cuda", threads=torch.get_num_threads())
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = None
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
        driver = done.stdout.strip().splitlines()[0]
    return {**environment_of(options, command), "driver": driver}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; return 0, also without a GPU, or 1 if a part failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=LIMIT, help="of all parts together")
    parser.add_argument("--here", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        console.say("skipped: torch finds no CUDA device here, so nothing was measured")
        return 0
    if args.here:
        rows = PARTS[args.here].run("cuda")
        sys.stdout.write("\n" + json.dumps({"rows": rows}) + "\n")
        return 0
    command = "python -m bench.speed.gpu"
    command += f" --parts {' '.join(args.parts)}" if args.parts != list(PARTS) else ""
    command += f" --seconds {args.seconds:g}" if args.seconds != LIMIT else ""
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "environment": made_with(command), "parts": {},
    }  # fmt: skip
    begin = time.perf_counter()
    for name in args.parts:
        part, start = PARTS[name], time.perf_counter()
        left = min(part.seconds, args.seconds - (start - begin))
        found: dict[str, Any] = {"status": "timed out", "error": "no time was left"}
        if left > 0:
            found = run_module(("bench.speed.gpu", "--here", name), timeout=left)
        record["parts"][name] = {
            "about": part.about, "status": "ok", "error": None, "rows": [],
            "seconds": time.perf_counter() - start, **found,
        }  # fmt: skip
        text = json.dumps(record, indent=1) + "\n"
        write_atomically(args.out / "gpu.json", text.encode())
        write_atomically(args.out / "gpu.md", markdown(record).encode())
        console.say(f"{name}: {record['parts'][name]['error'] or 'ok'}")
    failed = sum(part["status"] != "ok" for part in record["parts"].values())
    console.result({"out": args.out.as_posix(), "parts": len(args.parts), "failed": failed})
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
