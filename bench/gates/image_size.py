"""At which image size do strides 4 and 8 matter? A measurement for the default preset's image size.

A study of the pyramid needs images on which its fine levels have an effect, but small enough for
short runs. For each image side this trains WeakCLIP, and the same network with all levels at the
stride of the patches, on a data set that no other table reports, and compares them on unseen
images.

Run: python -m bench.gates.image_size   (three sides, two seeds: half an hour)
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.console import say
from bench.report.markup import signed_interval
from bench.runs.provenance import measured_with
from bench.runs.store import write_atomically
from bench.stats.statistics import paired_difference, pooled_miou
from bench.studies.preset import CARTOON, SMOKE
from bench.tasks.task import open_workbench
from weakclip.config import MICRO, SeedAndBoundary, SingleScale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bench.stats.statistics import Difference
    from bench.studies.preset import Preset
    from bench.studies.workbench import Outcome
    from weakclip.config import WeakCLIPConfig

WORLD_SEED = 77  # seed of the images for all choices of settings; tables use another
TASK = "val-network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Results for one image side: scores on unseen images, fractions, and seconds of a run."""

    side: int
    full_miou: float
    coarse_miou: float
    gain: float
    gain_low: float
    gain_high: float
    boundary_gain: float
    boundary_low: float
    boundary_high: float
    seconds: float


def preset_at(side: int, preset: Preset = CARTOON) -> Preset:
    """A preset with images of `side` pixels, drawn with the seed `WORLD_SEED`."""
    drawn = preset.generated
    assert drawn is not None
    return replace(
        preset,
        generated=replace(drawn, world=replace(drawn.world, size=side), seed=WORLD_SEED),
        framing=replace(preset.framing, size=side),
        max_side=side,
    )


def configs_at(side: int) -> tuple[WeakCLIPConfig, WeakCLIPConfig]:
    """WeakCLIP with and without a pyramid; the grid of the losses has stride 4."""
    assert isinstance(MICRO.supervision, SeedAndBoundary)
    full = replace(MICRO, supervision=replace(MICRO.supervision, grid=side // 4))
    return full, replace(full, adapter=SingleScale())


def measure(preset: Preset, seeds: Sequence[int], artifacts: Path) -> Line:
    """Train both networks with every seed, and compare them."""
    bench = open_workbench(preset, None, torch.device("cpu"), artifacts)
    side = preset.max_side
    full, coarse = (
        [bench.run(config, seed, report=lambda step, total: None) for seed in seeds]
        for config in configs_at(side)
    )
    gain, boundary = _gain(full, coarse, "counts"), _gain(full, coarse, "boundary")
    return Line(
        side=side,
        full_miou=_mean_miou(full),
        coarse_miou=_mean_miou(coarse),
        gain=gain.estimate,
        gain_low=gain.low,
        gain_high=gain.high,
        boundary_gain=boundary.estimate,
        boundary_low=boundary.low,
        boundary_high=boundary.high,
        seconds=float(np.median([sum(run.seconds.values()) for run in full])),
    )


def markdown(record: Mapping[str, Any]) -> str:
    """The Markdown table of a record, with the command that made it."""
    environment = ", ".join(f"{name}: {value}" for name, value in record["environment"].items())
    lines = [
        "# At which image size strides 4 and 8 matter",
        "",
        f"Made by `{record['command']}`. `{TASK}`: the network alone on unseen images of a world "
        "that no other table reports. Gain: whole pyramid minus all levels at the stride of the "
        f"patches, points, with its 95 % interval over {record['seeds']} seeds and all images. "
        "Seconds: one run on one thread, median.",
        "",
        environment,
        "",
        "| side, px | mIoU % | one stride, mIoU % | gain | gain in boundary IoU | seconds |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {line.side} | {100 * line.full_miou:.1f} | {100 * line.coarse_miou:.1f} "
        f"| {signed_interval(line.gain, line.gain_low, line.gain_high, digits=2)} "
        "| "
        f"{signed_interval(line.boundary_gain, line.boundary_low, line.boundary_high, digits=2)} "
        f"| {line.seconds:.0f} |"
        for line in (Line(**values) for values in record["lines"])
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write image_size.json and .md; return 0, or exit with 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m bench.gates.image_size", description=__doc__)
    parser.add_argument("--preset", choices=("cartoon", "smoke"), default="cartoon")
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 160, 192])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    args = parser.parse_args(argv)
    if any(side < 64 or side % 32 for side in args.sides):
        parser.error(f"--sides: expected multiples of 32 from 64 up, got {args.sides}")
    torch.set_num_threads(1)
    lines = []
    base = {"cartoon": CARTOON, "smoke": SMOKE}[args.preset]
    for side in args.sides:
        lines.append(measure(preset_at(side, base), args.seeds, args.artifacts))
        say(f"{side} px: {lines[-1]}")
    record = {
        "command": "python -m bench.gates.image_size"
        + "".join(
            f" --{name} {' '.join(map(str, values))}"
            for name, values in (("sides", args.sides), ("seeds", args.seeds))
        ),
        "environment": measured_with("cpu", args.preset),
        "seeds": len(args.seeds),
        "lines": [asdict(line) for line in lines],
    }
    write_atomically(args.out / "image_size.json", (json.dumps(record, indent=1) + "\n").encode())
    write_atomically(args.out / "image_size.md", markdown(record).encode())
    sys.stdout.write(json.dumps({"out": args.out.as_posix(), "sides": args.sides}) + "\n")
    return 0


def _gain(full: Sequence[Outcome], coarse: Sequence[Outcome], kind: str) -> Difference:
    stacks: list[NDArray[np.integer]] = [
        np.stack([getattr(run, kind)[TASK] for run in runs]) for runs in (full, coarse)
    ]
    return paired_difference(stacks[0], stacks[1])


def _mean_miou(runs: Sequence[Outcome]) -> float:
    return float(np.mean([pooled_miou(run.counts[TASK]) for run in runs]))


if __name__ == "__main__":
    raise SystemExit(main())
