"""What sharing saves: a study's runs with everything computed once, and with nothing kept.

All variants see the same frozen CLIP, the same views, the same images. `shared` is how studies
run: frozen features of the views, seeds and CRF lattices are made once. `alone` is how a training
script runs: every run makes its seeds, draws and encodes the views of each step, builds the
lattices of each batch and of each image, and encodes `val` again. Both train the same network on
the same batches; their scores are compared, for what is kept must not change them.

The two take turns, run by run, in one process. Reading the data set is timed in neither; the
statistics of the features are given to `alone` for nothing. The one-off cost of sharing is timed.

Run: python -m bench.cost.sharing                (the component study, one seed: 20 minutes)
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from bench.console import say
from bench.runs.provenance import measured_with
from bench.runs.store import write_atomically
from bench.studies.preset import PRESETS, Preset, load_preset
from bench.studies.study import load_study
from bench.tasks.bank import Bank, draw_row
from bench.tasks.task import CartoonWorkbench
from weakclip.config import WeakCLIPConfig
from weakclip.crf.dense import build_lattices
from weakclip.ops.confusion import miou
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from bench.tasks.bank import BankSpec
    from weakclip.clip.tower import Features, ImageTower
    from weakclip.crf.dense import CRFConfig
    from weakclip.training.recipe import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Seconds of one run both ways, and how far its scores are apart."""

    variant: str
    shared: float
    alone: float
    worst_difference: float
    """Largest difference of the mIoU of any task, fraction."""


class Forgetful(Bank):
    """A bank that gives seeds and statistics; features and lattices are made anew each time."""

    def __init__(
        self, folder: Path, spec: BankSpec, bench: CartoonWorkbench, tower: ImageTower
    ) -> None:
        """Take seeds and statistics from the bank in `folder`, and images from `bench`."""
        super().__init__(folder, spec.views, bench.device)
        self._spec, self._bench, self._tower = spec, bench, tower

    def features(self, rows: Sequence[int]) -> Features:
        """Draw and encode the views."""
        train, clip = self._bench.train, self._bench.clip
        positions = [row // self.views for row in rows]
        views = [
            draw_row(train.images[position], self._bench.seeds[position], row, self._spec)[0]
            for position, row in zip(positions, rows, strict=True)
        ]
        images = torch.stack(views).to(self.device)
        return self.standardise(self._tower(normalise_images(images, clip.mean, clip.std)))

    def batch(self, rows: Sequence[int], crf: CRFConfig | None) -> Batch:
        """A training batch with lattices of its own."""
        batch = super().batch(rows, None)
        lattices = None if crf is None else build_lattices(batch.grid_images, crf)
        return replace(batch, lattices=lattices)


class Alone(CartoonWorkbench):
    """A workbench for one run, which shares nothing with others."""

    def _bank(self, config: WeakCLIPConfig, seeds: Tensor, folder: Path) -> Bank:
        kept = super()._bank(config, seeds, folder)
        spec = self._bank_spec(config, seeds)
        return Forgetful(folder / kept.key, spec, self, self._tower(config))

    def _refine(self, class_scores: Tensor, known: Tensor, rows: slice) -> Tensor:
        self._train_lattices.clear()
        return super()._refine(class_scores, known, rows)


def measure(
    preset: Preset, configs: Mapping[str, WeakCLIPConfig], artifacts: Path, seed: int = 0
) -> tuple[float, list[Pair]]:
    """Run every configuration both ways.

    Args:
        preset: Data, CLIP and protocol.
        configs: Variant to configuration.
        artifacts: Folder of the data set and of what is shared; what is shared must not be there.
        seed: Of the runs.

    Returns:
        Seconds that sharing costs once, and the runs.
    """
    device = torch.device("cpu")
    shared = CartoonWorkbench(preset, None, device, artifacts)
    _read(shared)
    start = time.perf_counter()
    for config in configs.values():
        shared.features(config)
    once = time.perf_counter() - start
    pairs = []
    for name, config in configs.items():
        alone = Alone(preset, shared.root, device, artifacts)
        _read(alone)
        ours, scores = _timed_run(shared, config, seed)
        theirs, others = _timed_run(alone, config, seed)
        worst = max(abs(scores[task] - others[task]) for task in scores)
        say(f"{name}: shared {ours:.1f} s, alone {theirs:.1f} s")
        pairs.append(Pair(variant=name, shared=ours, alone=theirs, worst_difference=worst))
    return once, pairs


def markdown(record: Mapping[str, Any]) -> str:
    """The table people read, with the command that made it."""
    pairs, once = [Pair(**pair) for pair in record["runs"]], record["once"]
    shared, alone = once + sum(p.shared for p in pairs), sum(p.alone for p in pairs)
    environment = ", ".join(f"{name}: {value}" for name, value in record["environment"].items())
    worst = max(p.worst_difference for p in pairs)
    lines = [
        "# What sharing saves",
        "",
        f"Made by `{record['command']}`. Seconds of a run when the study's runs share frozen "
        "features, seeds and lattices, and when each makes its own, in turn in one process on one "
        f"thread. Largest difference of any mIoU: {100 * worst:.2f} points.",
        "",
        environment,
        "",
        "| run | shared, s | alone, s | alone / shared |",
        "|---|---:|---:|---:|",
        f"| made once | {once:.1f} | | |",
    ]
    lines += [
        f"| {p.variant} | {p.shared:.1f} | {p.alone:.1f} | {p.alone / p.shared:.2f} |"
        for p in pairs
    ]
    lines.append(f"| **all** | {shared:.1f} | {alone:.1f} | **{alone / shared:.2f}** |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write sharing.json and sharing.md; 0 done, 2 usage."""
    parser = argparse.ArgumentParser(prog="python -m bench.cost.sharing", description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cartoon")
    parser.add_argument("--study", default="components")
    parser.add_argument("--variants", nargs="+", help="default: all rows of the study")
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    args = parser.parse_args(argv)
    preset, study = load_preset(args.preset), load_study(args.study)
    if not isinstance(preset, Preset):
        parser.error(f"--preset: expected a generated world, got {args.preset}")
    rows = {row.name: row.config for row in study.rows}
    names = args.variants or list(rows)
    configs = {name: config for name in names if isinstance(config := rows[name], WeakCLIPConfig)}
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        once, pairs = measure(preset, configs, Path(folder))
    record = {
        "command": " ".join(["python -m bench.cost.sharing", *(argv or sys.argv[1:])]),
        "environment": measured_with("cpu", args.preset),
        "once": once,
        "runs": [asdict(pair) for pair in pairs],
    }
    write_atomically(args.out / "sharing.json", (json.dumps(record, indent=1) + "\n").encode())
    write_atomically(args.out / "sharing.md", markdown(record).encode())
    sys.stdout.write(json.dumps({"out": args.out.as_posix(), "runs": len(pairs)}) + "\n")
    return 0


def _read(bench: CartoonWorkbench) -> None:
    """Have the splits read, which is timed in neither way."""
    assert len(bench.train.images)
    assert len(bench.val.images)


def _timed_run(
    bench: CartoonWorkbench, config: WeakCLIPConfig, seed: int
) -> tuple[float, dict[str, float]]:
    """Seconds, and mIoU by task."""
    start = time.perf_counter()
    outcome = bench.run(config, seed, report=_quiet)
    seconds = time.perf_counter() - start
    pooled = {task: torch.from_numpy(c).sum(dim=0) for task, c in outcome.counts.items()}
    return seconds, {task: float(miou(counts)) for task, counts in pooled.items()}


def _quiet(step: int, total: int) -> None:
    """Report nothing."""


if __name__ == "__main__":
    raise SystemExit(main())
