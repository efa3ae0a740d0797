"""Stochastic gradient descent with polynomial decay: how the field trains its networks.

References:
    Ahn and Kwak, AffinityNet, CVPR 2018; Ahn et al., IRN, CVPR 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.random import Generator
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """How long and how fast to train. The defaults are IRN's for its classifier on VOC."""

    epochs: int = 5
    batch_size: int = 16
    learning_rate: float = 0.1
    """Of the pretrained layers."""
    head_factor: float = 10.0
    """The new layers learn this many times as fast."""
    momentum: float = 0.9
    """The released codes of AffinityNet and IRN meant 0.9 and passed 1e-4 by accident."""
    weight_decay: float = 1e-4
    power: float = 0.9
    """Learning rate = start * (1 - done / all)^power."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                "descent: expected at least one epoch and one image, got "
                f"{self.epochs} epochs of {self.batch_size} images"
            )


def descend(
    recipe: Descent,
    loss: Callable[[Sequence[int], Generator], Tensor],
    *,
    body: nn.Module,
    head: nn.Module,
    count: int,
    seed: int,
    report: Callable[[int, int], None],
) -> None:
    """Train `body` and `head` in place.

    Args:
        recipe: How long and how fast.
        loss: Loss of the images of these indices; may draw random views from the generator.
        body: Pretrained layers.
        head: New layers.
        count: Images of the training split.
        seed: Of the order of the images and of the generator.
        report: Called with (steps done, steps in all) after every step.

    Raises:
        FloatingPointError: If the loss is not finite.
    """
    rates = (recipe.learning_rate, recipe.learning_rate * recipe.head_factor)
    groups = [
        {"params": [p for p in module.parameters() if p.requires_grad], "lr": rate}
        for module, rate in zip((body, head), rates, strict=True)
    ]
    optimiser = torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay,
    )  # fmt: skip
    steps = recipe.epochs * math.ceil(count / recipe.batch_size)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, steps, recipe.power)
    generator = np.random.default_rng(seed)
    for step, rows in enumerate(_batches(recipe, count, generator), start=1):
        value = loss(rows, generator)
        if not torch.isfinite(value):
            raise FloatingPointError(
                f"loss is {float(value)} at step {step} of {steps}; lower the learning rate"
            )
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        report(step, steps)


def _batches(recipe: Descent, count: int, generator: Generator) -> Iterator[list[int]]:
    """Every image once per epoch, in random order; the last batch of an epoch may be smaller."""
    for _ in range(recipe.epochs):
        order = generator.permutation(count)
        for start in range(0, count, recipe.batch_size):
            yield order[start : start + recipe.batch_size].tolist()
