"""The training loop of all variants: AdamW, linear warm-up, cosine decay, no model selection.

The result is the network after the last step. No pixel annotation is used, hence none can influence
a choice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from weakclip.training.execution import REFERENCE
from weakclip.training.interrupt import held_interrupts
from weakclip.training.parallel import ALONE
from weakclip.training.prefetch import prefetched
from weakclip.training.resume import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from weakclip.network.model import WeakCLIP
    from weakclip.training.execution import Execution
    from weakclip.training.losses import Supervision
    from weakclip.training.parallel import Processes
    from weakclip.training.recipe import BatchSource, Recipe


def fit(
    model: WeakCLIP,
    supervision: Supervision,
    batches: BatchSource,
    recipe: Recipe,
    *,
    report: Callable[[int, int], None] | None = None,
    resume: Path | None = None,
    processes: Processes = ALONE,
    execution: Execution = REFERENCE,
) -> list[dict[str, float]]:
    """Train the components of `model` in place.

    Args:
        model: Its frozen towers are not changed.
        supervision: The losses.
        batches: Returns the batch of a step.
        recipe: Length, batch size and learning rates.
        report: Called with (steps done, total steps) after every step.
        resume: File of the training state, written periodically. If it exists, the training is
            resumed from it with a bit-identical result. The caller removes the file.
        processes: The processes that train this network together. In each of them `batches` must
            return its share of the batch, with equally many images of one size. All end with the
            same weights.
        execution: Precision of the forward pass, and compilation; weights, losses and optimiser
            stay in float32.

    Returns:
        Mean of each loss between two logged steps: {"step": ..., "seeding": ..., "loss": ...}.
        Empty if the model has no trainable parameters.

    Raises:
        FloatingPointError: If the loss is not finite.
        ValueError: If `resume` belongs to another recipe or precision, or if not all processes
            have access to it.
    """
    parameters = model.trainable_parameters()
    model.train()
    if not parameters:
        model.eval()
        return []
    factors = tuple(model.rate_groups())
    optimiser = optimiser_of(model, recipe)
    checkpoint = Checkpoint(
        resume, model, optimiser, recipe, writes=processes.first, execution=execution
    )
    seed = torch.initial_seed()
    done = checkpoint.restore()
    processes.align(model.components.values(), done.step)
    steps, device = range(done.step, recipe.iterations), parameters[0].device
    forward = execution.forward_of(model)
    ahead = prefetched(batches, steps, execution.prefetch, device)
    with held_interrupts() as stopped, ahead as source:
        for step in steps:
            processes.reseed(seed, step)
            batch = source(step)
            with execution.autocast(device):
                output = forward(batch.features)
            losses = supervision(
                output,
                batch.seeds,
                batch.grid_images,
                lattices=batch.lattices,
                processes=processes,
            )
            loss = torch.stack(list(losses.values())).sum()
            values = processes.mean({**_values(losses), "loss": float(loss.detach())})
            if not math.isfinite(values["loss"]):
                raise FloatingPointError(
                    f"loss is {values['loss']} at step {step}: {values}; lower the learning rate"
                )
            for factor, group in zip(factors, optimiser.param_groups, strict=True):
                group["lr"] = factor * learning_rate(recipe, step)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            processes.average_gradients(parameters)
            optimiser.step()
            for name, value in values.items():
                done.sums[name] = done.sums.get(name, 0.0) + value
            done.step, done.since = step + 1, done.since + 1
            if done.since == recipe.log_every or step + 1 == recipe.iterations:
                means = {name: total / done.since for name, total in done.sums.items()}
                done.curve.append({"step": step + 1, **means})
                done.sums, done.since = {}, 0
            checkpoint.save_if_due(done, now=stopped())
            if stopped():
                raise KeyboardInterrupt
            if report is not None:
                report(step + 1, recipe.iterations)
    model.eval()
    return done.curve


def optimiser_of(model: WeakCLIP, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with a group for each learning-rate factor, in the order of `rate_groups`."""
    return torch.optim.AdamW(
        [
            {"params": group, "lr": factor * recipe.learning_rate}
            for factor, group in model.rate_groups().items()
        ],
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of a step: cosine decay, multiplied by a linear warm-up.

    Example:
        >>> from weakclip.training.recipe import Recipe
        >>> recipe = Recipe(iterations=100, warmup=10, learning_rate=1.0, final_learning_rate=0.0)
        >>> round(learning_rate(recipe, 50), 3)
        0.5
    """
    progress = step / recipe.iterations
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    low = recipe.final_learning_rate
    rate = low + (recipe.learning_rate - low) * cosine
    if step < recipe.warmup:
        share = step / recipe.warmup
        rate *= recipe.warmup_ratio + (1 - recipe.warmup_ratio) * share
    return rate


def _values(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses.items()}
