"""Optimisation of the baselines: SGD by epochs with polynomial decay, or AdamW by steps.

References:
    Ahn and Kwak, AffinityNet, CVPR 2018; Ahn et al., IRN, CVPR 2019; Ru et al., AFA, CVPR 2022.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weakclip.training.interrupt import held_interrupts
from weakclip.training.resume import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.random import Generator
    from torch import Tensor, nn
    from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """SGD with polynomial decay. The defaults are IRN's for its classifier on VOC."""

    epochs: int = 5
    batch_size: int = 16
    learning_rate: float = 0.1
    """Learning rate of the pretrained layers."""
    head_factor: float = 10.0
    """Factor on the learning rate for the new layers."""
    momentum: float = 0.9
    """The released code of AffinityNet and IRN intends 0.9 but passes 1e-4 by mistake."""
    weight_decay: float = 1e-4
    power: float = 0.9
    """Exponent: learning rate = start * (1 - done / total)^power."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                "descent: expected at least one epoch and one image, got "
                f"{self.epochs} epochs of {self.batch_size} images"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmDescent:
    """AdamW with warm-up, then linear decay to 0. The defaults are WeCLIP's."""

    steps: int = 30_000
    batch_size: int = 4
    """Images per step; the last batch of an epoch is left out if it is smaller."""
    learning_rate: float = 2e-3
    """Learning rate of the new layers. WeCLIP's configuration has a tenth, which its optimiser
    multiplies by ten."""
    head_factor: float = 1.0
    warmup: int = 50
    """Steps of linear warm-up from `warmup_ratio` of the learning rate."""
    warmup_ratio: float = 1e-6
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError(
                "descent: expected at least one step and one image, got "
                f"{self.steps} steps of {self.batch_size} images"
            )

    def factor(self, step: int) -> float:
        """Factor on the learning rate at a step, 0-based.

        The decay also counts the warm-up steps, so it has begun when the warm-up ends.

        Example:
            >>> recipe = WarmDescent(steps=100, warmup=10, warmup_ratio=0.1)
            >>> [round(recipe.factor(step), 2) for step in (0, 5, 9, 10, 99)]
            [0.1, 0.55, 0.91, 0.9, 0.01]
        """
        if step < self.warmup:
            return 1 - (1 - step / self.warmup) * (1 - self.warmup_ratio)
        return 1 - step / self.steps


def descend(
    recipe: Descent | WarmDescent,
    loss: Callable[[Sequence[int], Generator], Tensor],
    *,
    body: nn.Module,
    head: nn.Module,
    count: int,
    seed: int,
    report: Callable[[int, int], None],
    resume: Path | None = None,
) -> None:
    """Train `body` and `head` in place.

    Args:
        recipe: Length, batch size and learning rates.
        loss: Loss of the images with these indices; may draw random views from the generator.
        body: Pretrained layers.
        head: New layers.
        count: Number of training images.
        seed: Seed of the image order and of the generator.
        report: Called with (steps done, total steps) after every step.
        resume: File of the training state, written periodically, at the end and on Ctrl-C. If it
            exists, the training is resumed from it with a bit-identical result, provided that
            `loss` has no state. The caller removes the file.

    Raises:
        FloatingPointError: If the loss is not finite.
        ValueError: If there are no images, or `resume` belongs to another training.
    """
    if count < 1:
        raise ValueError("descent: expected at least one image to train on, got none")
    rates = (recipe.learning_rate, recipe.learning_rate * recipe.head_factor)
    groups = [
        {"params": [p for p in module.parameters() if p.requires_grad], "lr": rate}
        for module, rate in zip((body, head), rates, strict=True)
    ]
    steps = step_count(recipe, count)
    optimiser, schedule = _optimiser(recipe, [group for group in groups if group["params"]], steps)
    batches = _Batches(recipe, count, seed)
    checkpoint = Checkpoint(
        resume, _Parts({"body": body, "head": head}), optimiser, _Whole(recipe, steps)
    )
    done = checkpoint.restore()
    schedule.last_epoch = done.step
    batches.restore(done.drawn)
    with held_interrupts() as stopped:
        for step in range(done.step + 1, steps + 1):
            value = loss(batches.rows(step - 1), batches.generator)
            if not torch.isfinite(value):
                raise FloatingPointError(
                    f"loss is {float(value)} at step {step} of {steps}; lower the learning rate"
                )
            optimiser.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            done.step, done.drawn = step, batches.drawn
            checkpoint.save_if_due(done, now=stopped())
            if stopped():
                raise KeyboardInterrupt
            report(step, steps)


def step_count(recipe: Descent | WarmDescent, count: int) -> int:
    """Number of steps of a training on `count` images."""
    match recipe:
        case Descent():
            return recipe.epochs * math.ceil(count / recipe.batch_size)
        case WarmDescent():
            return recipe.steps


def _optimiser(
    recipe: Descent | WarmDescent, groups: list[dict[str, Any]], steps: int
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    optimiser: torch.optim.Optimizer
    match recipe:
        case Descent():
            optimiser = torch.optim.SGD(
                groups,
                lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay,
            )  # fmt: skip
            return optimiser, torch.optim.lr_scheduler.PolynomialLR(optimiser, steps, recipe.power)
        case WarmDescent():
            optimiser = torch.optim.AdamW(
                groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
            )
            return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, recipe.factor)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The modules to train; a `weakclip.training.resume.Trained`."""

    components: dict[str, nn.Module]


@dataclass(frozen=True, slots=True)
class _Whole:
    """The length of a training; a `weakclip.training.resume.Schedule`."""

    recipe: Descent | WarmDescent
    iterations: int


class _Batches:
    """Batches of indices: every image once per epoch, in random order."""

    def __init__(self, recipe: Descent | WarmDescent, count: int, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        """Draws the orders and, between them, whatever the loss draws."""
        self._size, used = recipe.batch_size, count
        if isinstance(recipe, WarmDescent):
            used = max(min(count, self._size), count - count % self._size)
        self._count, self._an_epoch = count, math.ceil(used / self._size)
        self._order: list[int] = []

    def rows(self, step: int) -> list[int]:
        """Image indices of a step, 0-based; steps must be requested in order."""
        place = step % self._an_epoch * self._size
        if place == 0:
            self._order = self.generator.permutation(self._count).tolist()
        return self._order[place : place + self._size]

    @property
    def drawn(self) -> str:
        """State to restore on resuming, as JSON."""
        return json.dumps([self.generator.bit_generator.state, self._order])

    def restore(self, drawn: str) -> None:
        """Restore the state of `drawn`; do nothing if it is empty."""
        if drawn:
            self.generator.bit_generator.state, self._order = json.loads(drawn)
