"""Inputs of a training: its recipe, and the batches of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.clip.tower import Features
    from weakclip.crf.dense import Lattices


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Length, batch size and learning rate of a training. The defaults are the paper's for VOC."""

    iterations: int = 20_000
    batch_size: int = 16
    learning_rate: float = 1e-4
    weight_decay: float = 3e-5
    warmup: int = 1500
    """Steps of linear warm-up from `warmup_ratio` of the learning rate."""
    warmup_ratio: float = 1e-6
    final_learning_rate: float = 1e-6
    log_every: int = 50

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.batch_size < 1:
            raise ValueError(
                f"recipe: expected at least one iteration and one image, got {self.iterations} "
                f"iterations of {self.batch_size} images"
            )


@dataclass(frozen=True, slots=True)
class Batch:
    """Input of one training step."""

    features: Features
    """Frozen features of B views."""
    seeds: Tensor
    """Seed labels of the views, (B, H, W), int64, 255 = undecided."""
    grid_images: Tensor
    """The views on the loss grid, (B, 3, g, g), uint8."""
    lattices: Lattices | Sequence[Lattices] | None = None
    """CRF lattices of `grid_images`, if they are kept between steps."""


class BatchSource(Protocol):
    """Batches by step number, the same for every variant of a study."""

    def __call__(self, step: int) -> Batch:
        """The batch of a step, 0-based; it depends on the step alone, on any device."""
        ...
