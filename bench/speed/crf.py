"""The dense CRF against pydensecrf2, side by side on the same images.

Why: post-processing and the boundary loss are where CRF time goes, and "faster" means nothing when
the two were timed minutes apart. Each round times both, one after the other, on the wall clock;
the table shows the median over rounds of the ratio of the two, and the quartiles.

How to read it: `images` differ from round to round, so lattices are built each time, except that
the position-only lattice of a size is kept between calls (`first` rows: it is not). The rival is
single-threaded always. `floor` is the time one iteration needs to stream its operators and
marginals once at the measured memory bandwidth. With numba installed compiled loops do it all;
`--without-numba` times torch alone.

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
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.runs.provenance import versions
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
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from torch import Tensor

PRESETS = {"weakclip-train": WEAKCLIP_TRAIN, "weakclip-voc": WEAKCLIP_VOC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is timed."""

    use: str
    preset: str
    images: int
    labels: int
    height: int
    width: int
    first: bool = False  # of its size: the position-only lattice is built as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Milliseconds, medians over rounds; the ratio is rival over ours, with its quartiles."""

    use: str
    preset: str
    shape: str
    device: str
    threads: int
    rounds: int
    vertices: int
    rival_ms: float | None
    ours_ms: float
    lattice_ms: float
    iteration_ms: float
    floor_ms: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


LOADS = tuple(
    load
    for preset in PRESETS
    for load in (
        Load(use="post", preset=preset, images=1, labels=4, height=375, width=500, first=True),
        Load(use="post", preset=preset, images=1, labels=21, height=375, width=500, first=True),
        Load(use="post", preset=preset, images=1, labels=4, height=375, width=500),
        Load(use="post", preset=preset, images=1, labels=21, height=375, width=500),
        Load(use="loss", preset=preset, images=8, labels=21, height=64, width=64),
    )
)


def photo_like(images: int, height: int, width: int, seed: int) -> Tensor:
    """Images (B, 3, H, W) uint8 with about the spectrum and the lattice vertices of photographs."""
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.maximum(np.hypot(rows, columns), 1 / max(height, width))

    def field(channels: int) -> np.ndarray[Any, Any]:
        noise = rng.normal(size=(images, channels, height, width))
        values = np.fft.irfft2(np.fft.rfft2(noise) / frequency**1.45, s=(height, width))
        scaled: np.ndarray[Any, Any] = values / values.std((2, 3), keepdims=True)
        return scaled

    grain = rng.normal(size=(images, 3, height, width))
    pixels = 115 + 50 * field(1) + 15 * field(3) + grain
    return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))


def soft_probs(images: int, labels: int, height: int, width: int, seed: int) -> Tensor:
    """Class probabilities (B, L, H, W) as smooth as an up-sampled CAM."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(images, labels, height // 16, width // 16, generator=generator) * 3
    grown = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return grown.softmax(1)


def rival_crf(rival: ModuleType, images: Tensor, probs: Tensor, config: CRFConfig) -> None:
    """Marginals by pydensecrf2, image by image."""
    labels, height, width = probs.shape[1:]
    for image, unary in zip(images, unary_from_probs(probs), strict=True):
        crf = rival.DenseCRF2D(width, height, labels)
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


def milliseconds(task: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of one call, device work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    task()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


def bandwidth(device: torch.device) -> float:
    """Bytes read and written per millisecond by a large copy, the best of five."""
    source = torch.ones(1 << 25, device=device)
    target = torch.empty_like(source)
    best = min(milliseconds(lambda: target.copy_(source), device) for _ in range(5))
    return 2 * source.nbytes / best


def measure(
    load: Load, rounds: int, threads: int, rival: ModuleType | None, device: torch.device
) -> Result:
    """Time one load, both sides in each round, after one round that does not count."""
    torch.set_num_threads(threads)
    config = PRESETS[load.preset]
    sizes = (load.height, load.width)
    theirs: list[float] = []
    ours: list[float] = []
    lattice: list[float] = []
    vertices = operators = 0
    for number in range(rounds + 1):
        images = photo_like(load.images, *sizes, seed=number)
        probs = soft_probs(load.images, load.labels, *sizes, seed=number)
        pixels, shares = images.to(device), probs.to(device)
        if rival is not None:
            task = partial(rival_crf, rival, images, probs, config)
            theirs.append(milliseconds(task, device))
        for times, mine in (
            (ours, partial(dense_crf, pixels, shares, config)),
            (lattice, partial(build_lattices, pixels, config)),
        ):
            if load.first:
                forget_position_lattices()
            times.append(milliseconds(mine, device))
        if number == 0:
            built = build_lattices(pixels, config)
            vertices = sum(built.terms[1].vertex_counts)
            operators = built.terms[0].nbytes * load.images + built.terms[1].nbytes
    pixels_total = load.images * load.height * load.width
    values = 4 * load.labels * (3 * pixels_total + 4 * vertices)
    ratios = [t / o for t, o in zip(theirs[1:], ours[1:], strict=True)] if theirs else []
    low, ratio, high = statistics.quantiles(ratios, n=4) if ratios else (None, None, None)
    total, built_ms = statistics.median(ours[1:]), statistics.median(lattice[1:])
    return Result(
        use=load.use + (" (first of its size)" if load.first else ""),
        preset=load.preset,
        shape=f"{load.images}x{load.labels}x{load.height}x{load.width}",
        device=device.type,
        threads=threads,
        rounds=rounds,
        vertices=vertices,
        rival_ms=statistics.median(theirs[1:]) if theirs else None,
        ours_ms=total,
        lattice_ms=built_ms,
        iteration_ms=(total - built_ms) / config.iterations,
        floor_ms=(operators + values) / bandwidth(device),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
    )


def markdown(results: Sequence[Result], environment: dict[str, object], command: str) -> str:
    """The table people read, with the command that made it."""
    lines = [
        "# Dense CRF against pydensecrf2",
        "",
        f"Made by `{command}`. The rival runs on one thread; ratio = rival / ours, median of "
        "rounds timed side by side [quartiles]. `lattice` is part of `ours`; `floor` is what one "
        "iteration takes at the measured memory bandwidth.",
        "",
        ", ".join(f"{name}: {value}" for name, value in environment.items()),
        "",
        "| use | parameters | B x L x H x W | device, threads | rival ms | ours ms | lattice ms "
        "| iteration ms | floor ms | vertices | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        rival = "-" if r.rival_ms is None else f"{r.rival_ms:.1f}"
        ratio = "-"
        if r.ratio is not None:
            ratio = f"**{r.ratio:.2f}** [{r.ratio_low:.2f}, {r.ratio_high:.2f}]"
        lines.append(
            f"| {r.use} | {r.preset} | {r.shape} | {r.device}, {r.threads} | {rival} "
            f"| {r.ours_ms:.1f} | {r.lattice_ms:.1f} | {r.iteration_ms:.2f} | {r.floor_ms:.2f} "
            f"| {r.vertices} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Time all loads and write crf.md and crf.json; 0 done, 2 usage."""
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
        rival = importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        sys.stderr.write("pydensecrf2 is not installed: only ours is timed\n")
        rival = None
    device = torch.device(args.device)
    load_before = os.getloadavg()[0]
    results = [
        measure(load, args.rounds, threads, rival, device)
        for threads in args.threads
        for load in LOADS
    ]
    environment: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "numba": "none" if args.without_numba else versions()["numba"] or "none",
        "load average before": round(load_before, 2),
        "after": round(os.getloadavg()[0], 2),
    }
    threads = " ".join(str(number) for number in args.threads)
    command = f"python -m bench.speed.crf --threads {threads} --rounds {args.rounds}"
    command += f" --device {args.device}" + " --without-numba" * args.without_numba
    args.out.mkdir(parents=True, exist_ok=True)
    name = "crf" if args.device == "cpu" else "crf-cuda"
    name += "-torch" * args.without_numba
    table = markdown(results, environment, command)
    (args.out / f"{name}.md").write_text(table, encoding="utf-8")
    record = {
        "command": command,
        "environment": environment,
        "results": [asdict(result) for result in results],
    }
    text = json.dumps(record, indent=1)
    (args.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps({"out": args.out.as_posix(), "results": len(results)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
