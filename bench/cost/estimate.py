"""What the runs of a plan will take, before anything is started.

FLOPs of the training step and of the inference of the preset's own WeakCLIP are counted, and taken
for every row whose network is a WeakCLIP; the number of images is that of the published lists. What
other methods train is not counted, nor are retrainings, maps and the dense CRF, which a GPU does
meanwhile.
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
"""FLOP/s that are assumed: about what bfloat16 reaches in such networks on one current GPU."""
LISTS = {
    "trainaug": 10_582, "train": 1_464, "val": 1_449, "train2014": 82_081, "val2014": 40_137,
}  # fmt: skip
"""Images of the published lists; of COCO those with an annotation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What runs take."""

    runs: int
    trained: int
    """Runs whose network is WeakCLIP's, which alone are counted in what follows."""
    steps: int
    """Of training, over all of them."""
    images: int
    """Looked at for scores, over all of them; each at all scales, mirrored or not."""
    flops: float
    retrained: int
    """Runs that retrain a network on their masks, which is not counted."""

    @property
    def hours(self) -> float:
        """At `RATE`."""
        return self.flops / RATE / 3600

    @property
    def line(self) -> str:
        """What a person reads."""
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
    """What runs of these configurations take with a preset."""
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
