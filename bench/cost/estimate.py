"""An estimate of the cost of the runs of a plan, before they are started.

The FLOPs of training step and inference are counted for the preset's own WeakCLIP, and used for all
rows whose network is a WeakCLIP. Numbers of images are those of the published lists. Trainings of
other methods, retrainings, maps and the dense CRF are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.cost.counts import flop_costs, total
from bench.cost.subject import SIDES, make_subject
from bench.studies.method import MethodRow
from weakclip.config import WeakCLIPConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.studies.preset import Preset
    from bench.studies.workbench import Config

RATE = 50e12
"""Assumed FLOP/s: roughly the rate of such networks in bfloat16 on one current GPU."""
LISTS = {
    "trainaug": 10_582, "train": 1_464, "val": 1_449, "train2014": 82_081, "val2014": 40_137,
}  # fmt: skip
"""Number of images of the published lists; for COCO only images with an annotation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The estimated cost of runs."""

    runs: int
    trained: int
    """Runs that train a WeakCLIP; steps, images and FLOPs are those of these runs."""
    steps: int
    """Training steps of all runs together."""
    images: int
    """Scored images of all runs together, each counted once for all scales and mirror images."""
    flops: float
    retrained: int
    """Runs that retrain a network on their masks, which is not counted."""

    @property
    def hours(self) -> float:
        """GPU-hours at `RATE`."""
        return self.flops / RATE / 3600

    @property
    def line(self) -> str:
        """The estimate as one line of text."""
        rest = self.runs - self.trained
        others = f"; {rest} runs of other methods are not counted" if rest else ""
        others += f"; {self.retrained} retrainings are not counted" if self.retrained else ""
        scored = f"{self.images:,} images" if self.images else "images (not counted)"
        return (
            f"estimate: {self.steps:,} training steps and {scored} scored by "
            f"WeakCLIP, {self.flops:.2g} FLOPs, {self.hours:.3g} GPU-hours at "
            f"{RATE / 1e12:.0f} TFLOP/s{others}"
        )


def estimate(preset: Preset, configs: Iterable[Config]) -> Estimate:
    """Estimate the cost of runs of configurations with a preset."""
    counts = dict(LISTS) if preset.generated is None else dict(preset.generated.images)
    scored = sum(counts.get(preset.splits[role], 0) for role in ("pseudo", "val"))
    views = sum(scale**2 for scale in preset.scales) * (2 if preset.flip else 1)
    configs = list(configs)
    networks = [
        config.refinement if isinstance(config, MethodRow) else config for config in configs
    ]
    runs = len(networks)
    trained = sum(isinstance(network, WeakCLIPConfig) for network in networks)
    model = make_subject(preset.config, preset.size).model
    step = total(flop_costs(model, 1, SIDES[preset.size]).values())
    seen = preset.recipe.iterations * preset.recipe.batch_size
    each = seen * (step.forward + step.backward) + scored * views * step.forward
    return Estimate(
        runs=runs,
        trained=trained,
        steps=trained * preset.recipe.iterations,
        images=trained * scored,
        flops=trained * each,
        retrained=sum(getattr(config, "retraining", None) is not None for config in configs),
    )
