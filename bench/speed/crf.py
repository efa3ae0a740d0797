"""The dense CRF against pydensecrf2, timed alternately on the same images.

The loads are post-processing and the boundary loss. Each round times both implementations one after
the other by wall clock, because times taken minutes apart cannot be compared. The table shows the
median and the quartiles over rounds of the ratio of the two.

Images differ between rounds, so that lattices are built each time. The position-only lattice of an
image size is cached between calls, except in `first` rows. pydensecrf2 always runs on one thread.
With numba installed the CRF uses compiled loops; `--without-numba` times the version in torch.

Run: python -m bench.speed.crf --out results/perf --threads 1 2
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.cost.subject import photo_like
from bench.cost.table import table
from bench.cost.worker import milliseconds
from bench.runs.provenance import versions
from bench.runs.store import write_atomically
from weakclip.crf.dense import (
    WEAKCLIP_TRAIN,
    WEAKCLIP_VOC,
    Bilateral,
    CRFConfig,
    build_lattices,
    dense_crf,
    unary_from_probs,
)
from weakclip.crf.lattices import forget_position_lattices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from torch import Tensor

PRESETS = {"weakclip-train": WEAKCLIP_TRAIN, "weakclip-voc": WEAKCLIP_VOC}
HEADERS = (
    *("use", "parameters", "B x L x H x W", "device, threads", "pydensecrf2 ms", "ours ms"),
    *("lattice ms", "iteration ms", "vertices", "ratio"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A CRF configuration and input shape to be timed."""

    use: str
    preset: str
    shape: tuple[int, int, int, int]
    """B, L, H, W."""
    first: bool = False  # whether the position-only lattice is built as well


LOADS = tuple(
    load
    for preset in PRESETS
    for load in (
        Load(use="post (first of its size)", preset=preset, shape=(1, 4, 375, 500), first=True),
        Load(use="post (first of its size)", preset=preset, shape=(1, 21, 375, 500), first=True),
        Load(use="post", preset=preset, shape=(1, 4, 375, 500)),
        Load(use="post", preset=preset, shape=(1, 21, 375, 500)),
        Load(use="loss", preset=preset, shape=(8, 21, 64, 64)),
    )
)


def soft_probs(images: int, labels: int, height: int, width: int, seed: int) -> Tensor:
    """Random class probabilities (B, L, H, W), as smooth as an upsampled CAM."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(images, labels, height // 16, width // 16, generator=generator) * 3
    grown = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return grown.softmax(1)


def pydensecrf(module: ModuleType, images: Tensor, probs: Tensor, config: CRFConfig) -> None:
    """Compute marginals with `pydensecrf.densecrf`, image by image.

    Images are (B, 3, H, W), uint8, and probabilities (B, L, H, W).
    """
    labels, height, width = probs.shape[1:]
    for image, unary in zip(images, unary_from_probs(probs), strict=True):
        crf = module.DenseCRF2D(width, height, labels)
        crf.setUnaryEnergy(unary.flatten(1).numpy())
        for term in config.terms:
            if isinstance(term, Bilateral):
                rgb = image.permute(1, 2, 0).contiguous().numpy()
                crf.addPairwiseBilateral(
                    sxy=term.sxy, srgb=term.srgb, rgbim=rgb, compat=term.weight
                )
            else:
                crf.addPairwiseGaussian(sxy=term.sxy, compat=term.weight)
        np.array(crf.inference(config.iterations))


def measure(
    load: Load, *, rounds: int, threads: int, device: str, module: ModuleType | None
) -> dict[str, Any]:
    """Time one load with both implementations in each round, after a warm-up round.

    Returns:
        Medians over rounds in milliseconds. The ratio is pydensecrf2's time over ours, with its
        quartiles; None without `module`.
    """
    torch.set_num_threads(threads)
    config = PRESETS[load.preset]
    times: dict[str, list[float]] = {"theirs": [], "ours": [], "lattice": []}
    for number in range(rounds + 1):
        images = photo_like(load.shape[0], *load.shape[2:], seed=number)
        probs = soft_probs(*load.shape, seed=number)
        pixels, shares = images.to(device), probs.to(device)
        tasks: dict[str, Callable[[], object]] = {
            "ours": partial(dense_crf, pixels, shares, config),
            "lattice": partial(build_lattices, pixels, config),
        }
        if module is not None:
            times["theirs"].append(
                milliseconds(partial(pydensecrf, module, images, probs, config), device)
            )
        for name, task in tasks.items():
            if load.first:
                forget_position_lattices()
            times[name].append(milliseconds(task, device))
    medians = {name: statistics.median(each[1:]) for name, each in times.items() if each}
    pairs = zip(times["theirs"][1:], times["ours"][1:], strict=module is not None)
    ratios = [theirs / ours for theirs, ours in pairs]
    low, ratio, high = statistics.quantiles(ratios, n=4) if ratios else (None, None, None)
    return {
        "use": load.use,
        "preset": load.preset,
        "shape": "x".join(map(str, load.shape)),
        "device": device,
        "threads": threads,
        "rounds": rounds,
        "vertices": sum(build_lattices(pixels, config).terms[1].vertex_counts),
        "theirs_ms": medians.get("theirs"),
        "ours_ms": medians["ours"],
        "lattice_ms": medians["lattice"],
        "iteration_ms": (medians["ours"] - medians["lattice"]) / config.iterations,
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
    }


def markdown(record: Mapping[str, Any]) -> str:
    """The Markdown page for the content of a `crf.json`."""
    lines = [
        "# Dense CRF against pydensecrf2",
        "",
        f"Made by `{record['command']}`. pydensecrf2 runs on one thread; ratio = its time / ours, "
        "median of rounds timed in turn [quartiles]. `lattice` is part of `ours`.",
        "",
        ", ".join(f"{name}: {value}" for name, value in record["environment"].items()),
        "",
        *table(HEADERS, map(_cells, record["results"])),
    ]
    return "\n".join(lines) + "\n"


def _cells(r: Mapping[str, Any]) -> list[str]:
    theirs, ratio = "-", "-"
    if r["ratio"] is not None:
        theirs = f"{r['theirs_ms']:.1f}"
        ratio = f"{r['ratio']:.2f} [{r['ratio_low']:.2f}, {r['ratio_high']:.2f}]"
    return [
        r["use"], r["preset"], r["shape"], f"{r['device']}, {r['threads']}", theirs,
        f"{r['ours_ms']:.1f}", f"{r['lattice_ms']:.1f}", f"{r['iteration_ms']:.2f}",
        str(r["vertices"]), ratio,
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Time all loads, and write crf.md and crf.json; return 0, or exit with 2 on bad input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--without-numba", action="store_true", help="as if it were not installed")
    args = parser.parse_args(arguments)
    if args.without_numba:
        sys.modules["numba"] = None  # type: ignore[assignment]  # importing it now fails
    if args.rounds < 2 or (args.device == "cuda" and not torch.cuda.is_available()):
        parser.error("expected 2 rounds or more, and a device that is there")
    try:
        module = importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        sys.stderr.write("pydensecrf2 is not installed: only ours is timed\n")
        module = None
    busy = os.getloadavg()[0]
    results = [
        measure(load, rounds=args.rounds, threads=threads, device=args.device, module=module)
        for threads in args.threads
        for load in LOADS
    ]
    threads = " ".join(map(str, args.threads))
    record = {
        "command": f"python -m bench.speed.crf --threads {threads} --rounds {args.rounds} "
        f"--device {args.device}" + " --without-numba" * args.without_numba,
        "environment": {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "torch": torch.__version__,
            "numba": "none" if args.without_numba else versions()["numba"] or "none",
            "load average before": round(busy, 2),
            "after": round(os.getloadavg()[0], 2),
        },
        "results": results,
    }
    name = "crf" + "-cuda" * (args.device == "cuda") + "-torch" * args.without_numba
    write_atomically(args.out / f"{name}.md", markdown(record).encode())
    write_atomically(args.out / f"{name}.json", (json.dumps(record, indent=1) + "\n").encode())
    sys.stdout.write(json.dumps({"out": args.out.as_posix(), "results": len(results)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
