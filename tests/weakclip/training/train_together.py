"""A small training, alone or with others.

Run: `torchrun ... tests/weakclip/training/train_together.py FOLDER`.

In double precision: Adam divides by the size of a gradient, so where a gradient is nothing but
rounding (a bias in front of a batch norm), rounding moves the weight by the learning rate.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from weakclip.clip.load import load_clip
from weakclip.clip.tower import Features
from weakclip.config import MICRO, CoAttention, CrossEntropy, WeakCLIPConfig
from weakclip.network.build import build_model
from weakclip.training.execution import REFERENCE, Execution
from weakclip.training.loop import fit
from weakclip.training.losses import build_supervision, images_on_grid
from weakclip.training.parallel import ALONE, torchrun_processes
from weakclip.training.recipe import Batch, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.training.parallel import Processes

CLIP = load_clip("random-micro")
BATCH, STEPS = 4, 5
RECIPE = Recipe(iterations=STEPS, batch_size=BATCH, learning_rate=1e-3, warmup=1, log_every=2)
STILL = replace(MICRO, matching=CoAttention(width=64, depth=2, dropout=0.0))
CONFIGS: dict[str, WeakCLIPConfig] = {
    "balanced": STILL,
    "cross-entropy": replace(STILL, supervision=CrossEntropy()),
}


def whole_batch(step: int) -> Batch:
    """The batch of a step; its images have seeds in very different numbers of pixels."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(BATCH, 3, 64, 64, generator=generator)
    seeds = torch.randint(0, 3, (BATCH, 64, 64), generator=generator)
    for row in range(BATCH):
        seeds[row, : 15 * row] = 255
    found = CLIP.image.configured(taps=MICRO.taps, class_token="clip")(images)
    return Batch(
        features=Features(
            taps=tuple(tap.double() for tap in found.taps),
            global_embedding=found.global_embedding.double(),
            dense_embedding=found.dense_embedding.double(),
        ),
        seeds=seeds,
        grid_images=images_on_grid(images, (32, 32), mean=CLIP.mean, std=CLIP.std),
    )


def share(batch: Batch, processes: Processes) -> Batch:
    rows = slice(processes.rank, None, processes.count)
    return Batch(batch.features.select(rows), batch.seeds[rows], batch.grid_images[rows])


def train(
    name: str,
    processes: Processes = ALONE,
    *,
    part: Processes | None = None,
    seed: int = 0,
    resume: Path | None = None,
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """Weights and losses of a training; `part`: on its share alone, without talking to others."""
    config = CONFIGS[name]
    torch.manual_seed(0)
    model = build_model(config, CLIP, ("background", "dog", "cat"), seed=seed)
    model.text_tower.double()
    for component in model.components.values():
        component.double()
    curve = fit(
        model,
        build_supervision(config.supervision, config.tau),
        lambda step: share(whole_batch(step), part or processes),
        RECIPE,
        processes=processes,
        resume=resume,
        execution=Execution(prefetch=1) if processes.count > 1 else REFERENCE,
    )
    model.text_tower.float()
    weights = {k: v for part in model.components.values() for k, v in part.state_dict().items()}
    return weights, curve


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with torchrun_processes() as together:
        for each in CONFIGS:
            state = folder / f"{each}.state" if each == "balanced" else None
            # Other initial weights in each process: they shall all start from the first one's.
            found = train(each, together, seed=together.rank, resume=state)
            torch.save(found, folder / f"{each}-{together.rank}.pt")
