"""Grad-CAM of all tagged classes of a batch in one backward pass, against one at a time.

Why: seeds are made by Grad-CAM, and the usual way to make them (one image, one class, one forward
and one backward pass through everything) is what makes them slow. Each round times every way on the
same images, one after the other, and checks that all maps agree; the table shows medians over
rounds of the ratios.

How to read it. `loop`: per (image, class) a forward and a backward pass of the whole network with
hooks, weights as loaded. `grad-cam`: the package of that name, its `GradCAM`, one call per pair.
`shared prefix`: what CLIP-ES's release does, layers before the hooked one once per image and
without gradients, the rest once per pair; the fairest comparison. Images have 1 to 4 classes. Peak
memory is that of a fresh process that does this once, beyond what it held before.

Run: python -m bench.speed.cam --out results/perf
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.speed.cam_subjects import CLASSES, SUBJECTS
from bench.speed.crf import photo_like
from weakclip.clip.micro import MEAN, STD
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

TOLERANCE = 1e-5  # of maps in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is timed."""

    subject: str
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Medians over rounds; the ratio is this way's time over ours, with its quartiles."""

    subject: str
    images: int
    pairs: int
    threads: int
    rounds: int
    way: str
    images_per_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    peak_mib: float | None
    worst_difference: float


LOADS = (
    Load(subject="micro-clip", images=16),
    Load(subject="vit-b-16", images=4),
    Load(subject="resnet50-layer4", images=4),
    Load(subject="resnet50-layer3", images=4),
)


def batch(images: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Normalised images and tags: 1, 2, 3, 4, 1, 2, ... classes an image."""
    generator = torch.Generator().manual_seed(seed)
    tags = torch.zeros(images, CLASSES, dtype=torch.bool)
    for image in range(images):
        tags[image, torch.randperm(CLASSES, generator=generator)[: 1 + image % 4]] = True
    return normalise_images(photo_like(images, size, size, seed), MEAN, STD), tags


def largest_difference(maps: Tensor, others: Tensor) -> float:
    """Between two sets of maps, each stretched to [0, 1]."""

    def stretched(values: Tensor) -> Tensor:
        low = values.amin(dim=(2, 3), keepdim=True)
        high = (values - low).amax(dim=(2, 3), keepdim=True)
        return (values - low) / torch.where(high > 0, high, 1)

    return float((stretched(maps) - stretched(others)).abs().amax())


def measure(load: Load, rounds: int, threads: int) -> list[Result]:
    """Time every way in each round, after one round that does not count.

    Raises:
        AssertionError: If the maps of two ways differ.
    """
    torch.set_num_threads(threads)
    subject = SUBJECTS[load.subject]()
    seconds: dict[str, list[float]] = {way: [] for way in subject.ways}
    worst = dict.fromkeys(subject.ways, 0.0)
    for number in range(rounds + 1):
        images, tags = batch(load.images, subject.size, seed=number)
        maps: dict[str, Tensor] = {}
        for way, make in subject.ways.items():
            start = time.perf_counter()
            maps[way] = make(images, tags)
            seconds[way].append(time.perf_counter() - start)
            worst[way] = max(worst[way], largest_difference(maps["ours"], maps[way]))
    if max(worst.values()) > TOLERANCE:
        raise AssertionError(f"{load.subject}: maps differ from ours by {worst}")
    results = []
    for way, times in seconds.items():
        ratios = [t / ours for t, ours in zip(times[1:], seconds["ours"][1:], strict=True)]
        low, ratio, high = statistics.quantiles(ratios, n=4)
        results.append(
            Result(
                subject=load.subject,
                images=load.images,
                pairs=int(tags.sum()),
                threads=threads,
                rounds=rounds,
                way=way,
                images_per_s=load.images / statistics.median(times[1:]),
                ratio=ratio,
                ratio_low=low,
                ratio_high=high,
                peak_mib=peak_mib(load, way, threads),
                worst_difference=worst[way],
            )
        )
    return results


def peak_mib(load: Load, way: str, threads: int) -> float | None:
    """Memory that a way needs beyond network and images; None where the system does not say."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (load, way, threads))


def _peak(load: Load, way: str, threads: int) -> float | None:
    torch.set_num_threads(threads)
    subject = SUBJECTS[load.subject]()
    images, tags = batch(load.images, subject.size, seed=0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak; Linux alone has it
    except OSError:
        return None
    before = _resident("VmRSS")
    subject.ways[way](images, tags)
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    """A memory figure of this process, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith(field + ":"))
    return int(found.split()[1]) / 1024


def memory(result: Result) -> str:
    """MiB as text."""
    return "-" if result.peak_mib is None else f"{result.peak_mib:.0f}"


def markdown(results: Sequence[Result], environment: dict[str, object], command: str) -> str:
    """The table people read, with the command that made it."""
    lines = [
        "# Grad-CAM: one backward pass for a batch against one per image and class",
        "",
        f"Made by `{command}`. Images have 1 to 4 classes; ratio = time of this way / ours, "
        "median of rounds timed side by side [quartiles]; memory = peak of a fresh process beyond "
        "what network and images take; difference = largest of any map, in [0, 1], from ours.",
        "",
        "`loop`: one forward and one backward pass of everything per image and class. `grad-cam`: "
        "the package, called the same way. `shared prefix`: layers before the hooked one once per "
        "image, the rest per class (CLIP-ES's release).",
        "",
        ", ".join(f"{name}: {value}" for name, value in environment.items()),
        "",
        "| network | images, pairs | threads | way | images/s | ratio | memory MiB | difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.subject} | {r.images}, {r.pairs} | {r.threads} | {r.way} | {r.images_per_s:.2f} "
        f"| **{r.ratio:.2f}** [{r.ratio_low:.2f}, {r.ratio_high:.2f}] | {memory(r)} "
        f"| {r.worst_difference:.1e} |"
        for r in results
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Time all loads and write cam.md and cam.json; 0 done, 2 usage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--subjects", nargs="+", choices=sorted(SUBJECTS), default=sorted(SUBJECTS))
    args = parser.parse_args(arguments)
    if args.rounds < 2 or args.threads < 1:
        parser.error("expected 2 rounds or more and 1 thread or more")
    load_before = os.getloadavg()[0]
    results = [
        result
        for load in LOADS
        if load.subject in args.subjects
        for result in measure(load, args.rounds, args.threads)
    ]
    environment: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "load average before": round(load_before, 2),
        "after": round(os.getloadavg()[0], 2),
    }
    command = f"python -m bench.speed.cam --threads {args.threads} --rounds {args.rounds}"
    if len(args.subjects) < len(SUBJECTS):
        command += f" --subjects {' '.join(args.subjects)}"
    args.out.mkdir(parents=True, exist_ok=True)
    table = markdown(results, environment, command)
    (args.out / "cam.md").write_text(table, encoding="utf-8")
    record = {
        "command": command,
        "environment": environment,
        "results": [asdict(result) for result in results],
    }
    text = json.dumps(record, indent=1)
    (args.out / "cam.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps({"out": args.out.as_posix(), "results": len(results)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
