"""The training loop of a segmentation network: fixed schedule, no model selection.

The result is the network after the last step. No image or mask of another split is used.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from weakclip.labels import IGNORE
from weakclip.retraining.crops import MEAN, STD
from weakclip.retraining.losses import mask_loss
from weakclip.retraining.recipe import SGD, AdamW, learning_rate
from weakclip.training.execution import REFERENCE
from weakclip.training.interrupt import held_interrupts
from weakclip.training.prefetch import prefetched
from weakclip.training.resume import Checkpoint
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from weakclip.retraining.crops import CropBatch, CropStream
    from weakclip.retraining.network import SegmentationNetwork
    from weakclip.retraining.recipe import RetrainingRecipe
    from weakclip.training.execution import Execution


def train(
    network: SegmentationNetwork,
    batches: CropStream,
    *,
    report: Callable[[int, int], None],
    resume: Path | None = None,
    execution: Execution = REFERENCE,
) -> list[dict[str, float]]:
    """Train a network in place.

    Args:
        network: An initialised network, on the device to train on.
        batches: Returns the batch of a step; its recipe sets length and learning rates.
        report: Called with (steps done, total steps) after every step.
        resume: File of the training state, written periodically. If it exists, the training is
            resumed from it with a bit-identical result. The caller removes the file.
        execution: Precision and compilation; weights, loss and optimiser stay in float32.

    Returns:
        Mean loss between two logged steps: {"step": ..., "retraining": ...}.

    Raises:
        FloatingPointError: If the loss is not finite.
        ValueError: If a mask has a label that is not a class, or `resume` belongs to another
            training.
    """
    recipe = batches.recipe
    if recipe.batch_norm == "frozen":
        network.freeze_norm()
    network.train()
    optimiser = _optimiser(network, recipe)
    checkpoint = Checkpoint(resume, network, optimiser, recipe, execution=execution)
    done = checkpoint.restore()
    steps, device = range(done.step, recipe.iterations), next(network.parameters()).device
    forward = execution.forward_of(network)
    with (
        held_interrupts() as stopped,
        prefetched(batches, steps, execution.prefetch, device) as source,
    ):
        for step in steps:
            value = _step(forward, optimiser, source(step), recipe, step, execution)
            done.sums["retraining"] = done.sums.get("retraining", 0.0) + value
            done.step, done.since = step + 1, done.since + 1
            if done.since == recipe.log_every or done.step == recipe.iterations:
                mean = done.sums["retraining"] / done.since
                done.curve.append({"step": done.step, "retraining": mean})
                done.sums, done.since = {}, 0
            checkpoint.save_if_due(done, now=stopped())
            if stopped():
                raise KeyboardInterrupt
            report(done.step, recipe.iterations)
    network.eval()
    return done.curve


def _step(
    forward: SegmentationNetwork,
    optimiser: torch.optim.Optimizer,
    batch: CropBatch,
    recipe: RetrainingRecipe,
    step: int,
    execution: Execution,
) -> float:
    """One training step; the loss before the update."""
    masks = batch.masks.long()
    with execution.autocast(masks.device):
        logits: Tensor = forward(normalise_images(batch.images, MEAN, STD))
    _check_labels(masks, logits.shape[1])
    loss = mask_loss(logits, masks, recipe.loss)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(
            f"retraining: loss is {value} at step {step}; lower the learning rate"
        )
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(recipe, step) * group["factor"]
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return value


def _check_labels(masks: Tensor, classes: int) -> None:
    unknown = masks[(masks >= classes) & (masks != IGNORE)]
    if len(unknown):
        raise ValueError(
            f"masks: expected labels 0 to {classes - 1} and {IGNORE}, got {int(unknown[0])}; "
            "`weakclip check` names the files"
        )


def _optimiser(network: SegmentationNetwork, recipe: RetrainingRecipe) -> torch.optim.Optimizer:
    """The optimiser, with encoder and head as groups; `factor` multiplies the learning rate."""
    groups = [
        {
            "params": [each for each in part.parameters() if each.requires_grad],
            "factor": 1.0 if name == "encoder" else recipe.head_factor,
        }
        for name, part in network.components.items()
    ]
    match recipe.optimiser:
        case SGD(learning_rate=rate, momentum=momentum, weight_decay=decay):
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, weight_decay=decay)
        case AdamW(learning_rate=rate, weight_decay=decay):
            return torch.optim.AdamW(groups, lr=rate, weight_decay=decay)
