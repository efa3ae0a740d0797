"""Settings for the training of a segmentation network: optimiser, schedule, loss, crops.

References:
    Chen et al., DeepLab, TPAMI 2018 (poly schedule).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

LossName = Literal["cross-entropy", "balanced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SGD:
    """Stochastic gradient descent.

    The poly optimisers derived from PSA pass the weight decay as momentum; such a run is
    `SGD(momentum=5e-4, weight_decay=0)`.
    """

    learning_rate: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay."""

    learning_rate: float = 6e-5
    weight_decay: float = 1e-2


Optimiser: TypeAlias = SGD | AdamW


@dataclass(frozen=True, slots=True, kw_only=True)
class Poly:
    """Decay from the learning rate to `final` by (1 - step / iterations)^power, with warm-up."""

    power: float = 0.9
    final: float = 0.0
    """Learning rate at the end of the training."""
    warmup: int = 0
    """Steps of linear warm-up from `warmup_ratio` of the learning rate."""
    warmup_ratio: float = 1e-6
    every: int = 1
    """Number of steps between two changes of the learning rate."""

    def __post_init__(self) -> None:
        if self.power < 0 or self.final < 0 or self.warmup < 0 or self.every < 1:
            raise ValueError(f"poly schedule: expected numbers of 0 or more, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """Photometric distortion: each factor is drawn uniformly, and applied to half of the crops.

    References:
        Liu et al., SSD, ECCV 2016.
    """

    brightness: tuple[float, float] = (0.875, 1.125)
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: tuple[float, float] = (-0.05, 0.05)
    """Shift, as a share of the colour circle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """Training crops: image and mask, resized by a random factor, cropped and mirrored."""

    size: int = 512
    """Side in pixels; outside the image it has ImageNet's mean colour and label 255."""
    scales: tuple[float, ...] = (0.5, 2.0)
    drawn: Literal["between", "among"] = "between"
    """`between`: uniform between the first and the last scale; `among`: one of the scales."""
    of: Literal["image", "short-side"] = "image"
    """What the scale refers to: the image's own size, or a short side of `size` pixels."""
    mirror: float = 0.5
    """Probability of a horizontal flip."""
    distortion: Distortion | None = None

    def __post_init__(self) -> None:
        if self.size < 32:
            raise ValueError(f"crops: expected 32 pixels or more, got {self.size}")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"crops: expected positive scales, got {self.scales}")


_SGD, _POLY, _CROPS = SGD(), Poly(), Crops()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingRecipe:
    """Settings of a training; the defaults are mmsegmentation's for VOC's trainaug."""

    iterations: int = 20_000
    batch_size: int = 16
    optimiser: Optimiser = _SGD
    head_factor: float = 1.0
    """Learning rate of the layers after the encoder, as a multiple of the encoder's."""
    schedule: Poly = _POLY
    loss: LossName = "cross-entropy"
    """Mean cross-entropy over all pixels but 255; `balanced`: the average of its means over
    background and over foreground pixels."""
    batch_norm: Literal["trained", "frozen"] = "trained"
    """Batch norms of the encoder; `frozen`: they keep the statistics, scales and shifts of the
    encoder's weights."""
    crops: Crops = _CROPS
    log_every: int = 50

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.batch_size < 1 or self.log_every < 1:
            raise ValueError(
                f"recipe: expected at least one iteration and one image, got {self.iterations} "
                f"iterations of {self.batch_size} images, logged every {self.log_every}"
            )


def learning_rate(recipe: RetrainingRecipe, step: int) -> float:
    """Learning rate of the encoder at a step, 0-based.

    Example:
        >>> recipe = RetrainingRecipe(iterations=100, schedule=Poly(power=1, final=0.001))
        >>> [round(learning_rate(recipe, step), 4) for step in (0, 50, 99)]
        [0.01, 0.0055, 0.0011]
    """
    schedule, first = recipe.schedule, recipe.optimiser.learning_rate
    left = 1 - step // schedule.every * schedule.every / recipe.iterations
    rate = schedule.final + (first - schedule.final) * math.pow(left, schedule.power)
    if step < schedule.warmup:
        share = step / schedule.warmup
        rate *= schedule.warmup_ratio + (1 - schedule.warmup_ratio) * share
    return rate
