"""The parts of `bench.speed.gpu`: functions from a device to the rows of a table.

With `small` a part takes seconds; the tests use this on a simulated device.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from PIL import Image

from bench import cli, console
from bench.cost.load import Load
from bench.cost.profile import Options, make_profile
from bench.cost.subject import (
    BASES,
    CLASSES,
    SIDES,
    Subject,
    make_subject,
    photo_like,
    random_batch,
)
from bench.cost.table import figures, seconds
from bench.cost.worker import matmul_rates, measure, milliseconds
from bench.speed import crf
from weakclip.clip.load import load_clip
from weakclip.config import SeedAndBoundary
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.folder import list_folder
from weakclip.masking.make import make_masks
from weakclip.masking.plan import plan_for
from weakclip.stages.network import SeededTraining
from weakclip.training.losses import boundary_loss, logits_on_grid

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from bench.cost.load import Mode, Work
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.masking.plan import MaskPlan, MethodName

    Row = dict[str, Any]

VECTORS = Path("tests/data/densecrf.npz")
NAMES = ("dog", "cat", "person")


class Run(Protocol):
    """The function of a part."""

    def __call__(self, device: str, *, small: bool = False) -> list[Row]:
        """Measure on a device, within seconds if `small`; return the rows of a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One measurement: function, time limit in seconds, description on the page."""

    run: Run
    seconds: float
    about: str


def gpu_tests(device: str, *, small: bool = False) -> list[Row]:
    """Run the tests marked `gpu`; return a row with their numbers.

    These tests always use CUDA; the arguments are ignored.

    Raises:
        RuntimeError: If a test fails.
    """
    del device, small
    row: Row = {}

    class Counter:
        def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
            for outcome in ("passed", "failed", "error", "skipped"):
                row[outcome] = len(terminalreporter.stats.get(outcome, ()))

    words = ["-q", "-m", "gpu", "--no-header", "tests"]
    code = importlib.import_module("pytest").main(words, plugins=[Counter()])
    if code:
        raise RuntimeError(f"pytest -m gpu: exit {int(code)}, {row}")
    return [row]


def dense_crf(device: str, *, small: bool = False) -> list[Row]:
    """The CRF compared with test vectors of the C++ code, then its time on CPU and GPU."""
    verifier = importlib.import_module("tests.parity.verify_densecrf")
    found = verifier.verify(VECTORS, device, 3 if small else None)
    rows: list[Row] = [{
        "what": "vectors of the C++ code", "vectors": len(found),
        "within tolerance": sum(row.passed for row in found),
        "largest |dQ|": max(row.max_abs for row in found),
    }]  # fmt: skip
    loads = [load for load in crf.LOADS if not load.first]
    if small:
        loads = [crf.Load(use="loss", preset="weakclip-train", shape=(1, 3, 32, 32))]
    for load in loads:
        rounds, threads = 2 if small else 5, torch.get_num_threads()
        here, there = (
            crf.measure(load, rounds=rounds, threads=threads, device=each, module=None)["ours_ms"]
            for each in ("cpu", device)
        )  # each after a warm-up round
        rows.append({
            "what": f"{load.use}, {load.preset}, {'x'.join(map(str, load.shape))}",
            "CPU ms": here, "GPU ms": there, "CPU / GPU": here / there,
        })  # fmt: skip
    return rows


def training(device: str, *, small: bool = False) -> list[Row]:
    """The training step at paper size in bfloat16, and the fraction of its time in the CRF."""
    row = _line(device, "training step", small=small)
    size, count = _size(small=small)
    crf_ms = _crf_ms(make_subject(BASES[size], size, device), device, size, count)
    return [{**row, "CRF's share": crf_ms / row["p50 ms"] if row["p50 ms"] else None}]


def compiled(device: str, *, small: bool = False) -> list[Row]:
    """The training step with torch.compile; compiling takes a minute or two."""
    return [_line(device, "training step", small=small, mode="compiled")]


def inference(device: str, *, small: bool = False) -> list[Row]:
    """Inference: logits at image size; the text is computed before."""
    return [_line(device, "forward", small=small)]


def masks(device: str, *, small: bool = False) -> list[Row]:
    """`weakclip masks` on the device and on the CPU: the number of pixels that differ."""
    count, side = (2, 64) if small else (16, 256)
    rows = []
    with TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for number, image in enumerate(photo_like(count, side, side, 0)):
            array = image.permute(1, 2, 0).numpy()
            Image.fromarray(array).save(photos / f"{number}.png")
        tags = [f"{number}.png,{NAMES[number % len(NAMES)]}" for number in range(count)]
        (photos / "labels.csv").write_text("\n".join(["file,labels", *tags]), encoding="utf-8")
        methods: tuple[MethodName, ...] = ("clip-es",) if small else ("clip-es", "weakclip")
        for method in methods:
            made, taken = {}, {}
            for name, place in (("cpu", "cpu"), ("gpu", device)):
                out, start = Path(folder) / method / name, time.perf_counter()
                clip = load_clip("random-micro" if small else "micro", device=place)
                make_masks(list_folder(photos), clip, out, _plan(clip, method))
                taken[name] = time.perf_counter() - start
                paths = sorted((out / "masks").rglob("*.png"))
                made[name] = np.stack([read_mask(path) for path in paths])
            rows.append({
                "method": method, "images": count, "pixels": made["cpu"].size,
                "pixels that differ": int((made["cpu"] != made["gpu"]).sum()),
                "CPU s": taken["cpu"], "GPU s": taken["gpu"],
            })  # fmt: skip
    return rows


def _plan(clip: CLIPBundle, method: MethodName) -> MaskPlan:
    """The default plan with a short training, because rounding differences grow with every step."""
    plan = plan_for(clip, method)
    training = plan.method.refinement
    if not isinstance(training, SeededTraining):
        return plan
    recipe = replace(training.recipe, iterations=20, warmup=1)
    return replace(plan, method=replace(plan.method, refinement=replace(training, recipe=recipe)))


def study(device: str, *, small: bool = False) -> list[Row]:
    """The component study with preset smoke: whether every row runs.

    Raises:
        RuntimeError: If a run fails.
    """
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        words = ["run", "components", "--preset", "smoke", "--device", device, "--out", folder]
        code = cli.main([*words, "--seeds", "0", *(["--dry-run"] if small else [])])
        if code:
            raise RuntimeError(f"bench {' '.join(words[:6])}: exit {code}")
        return [{"study": "components", "seconds": time.perf_counter() - start}]


def profile(device: str, *, small: bool = False) -> list[Row]:
    """Lines of `python -m bench profile` for the reference, each in a separate process."""
    sizes = ("micro",) if small else ("paper", "micro")
    options = Options(
        sizes=sizes, device=device, threads=torch.get_num_threads(), others=False, compiled=False,
        repeats=2 if small else 20, timeout=60,
    )  # fmt: skip
    content = make_profile(options, command="python -m bench.speed.gpu", report=console.say)
    return [_figures(line, content["matmul_flops"]) for line in content["speeds"]]


PARTS: dict[str, Part] = {
    "tests": Part(run=gpu_tests, seconds=60, about="The tests that need a GPU."),
    "crf": Part(
        run=dense_crf, seconds=60,
        about="The dense CRF against the vectors of the C++ code, and its time on both devices.",
    ),
    "training": Part(
        run=training, seconds=60,
        about="A training step of 16 images at paper size, bfloat16, eager. The CRF's share is "
        "that of the boundary loss alone, forward and backward.",
    ),
    "compiled": Part(run=compiled, seconds=120, about="The same step by torch.compile."),
    "inference": Part(run=inference, seconds=45, about="Logits of 16 images at paper size."),
    "masks": Part(run=masks, seconds=45, about="`weakclip masks` on both devices."),
    "study": Part(run=study, seconds=90, about="The component study, preset smoke, one seed."),
    "profile": Part(run=profile, seconds=120, about="The reference's lines of the profile."),
}  # fmt: skip
"""The parts in order of importance: if time is short, the last ones are not run."""


def _size(*, small: bool) -> tuple[str, int]:
    return ("micro", 2) if small else ("paper", 16)


def _line(device: str, work: Work, *, small: bool, mode: Mode = "eager") -> Row:
    size, count = _size(small=small)
    threads = torch.get_num_threads()
    load = Load(
        study="components", variant="full", size=size, work=work, batch=count, mode=mode,
        precision="fp32" if small else "bf16", device=device, threads=threads,
        repeats=2 if small else 50,
    )  # fmt: skip
    rates = matmul_rates(device, threads, repeats=1 if small else 5)
    return _figures({**asdict(load), **asdict(measure(load))}, rates)


def _figures(line: Mapping[str, Any], rates: Mapping[str, float]) -> Row:
    names = ("size", "work", "batch", "precision", "mode", "status")
    row = {name: line[name] for name in names}
    if line["status"] != "ok":
        return {**row, "error": line["error"], "p50 ms": None}
    found = {name: value for name, (value, _) in figures(line, rates).items()}
    return {
        **row, "images/s": found["rate"], "p50 ms": 1e3 * seconds(line),
        "of matmul rate": found["of matmul rate"], "peak MiB": found["peak memory"],
    }  # fmt: skip


def _crf_ms(subject: Subject, device: str, size: str, count: int) -> float:
    """Milliseconds of the boundary loss and its gradients, the best of three calls."""
    spec = subject.config.supervision
    assert isinstance(spec, SeedAndBoundary)
    batch = random_batch(size, count, device)
    images = subject.grid_images(batch.images)
    shape = (count, CLASSES, SIDES[size] // 4, SIDES[size] // 4)
    logits = torch.zeros(shape).to(device).requires_grad_()

    def call() -> None:
        on_grid = logits_on_grid(logits, (spec.grid, spec.grid))
        torch.autograd.backward(boundary_loss(on_grid, images, spec.crf))

    return min(milliseconds(call, device) for _ in range(3))
