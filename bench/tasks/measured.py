"""What a run measures, collected image by image."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from bench.studies.workbench import Outcome
from weakclip.ops.confusion import (
    boundary_counts,
    boundary_width,
    class_counts,
    confusion_matrix,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from weakclip.network.model import WeakCLIP


TASKS = ("train-pseudo", "train-pseudo-crf", "val-network")
"""What the workbenches score."""


class Measured:
    """Pixel counts of the tasks of a run, and its seconds by phase."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        """Start with nothing; K names, background first."""
        self._classes = len(class_names)
        self._counts: dict[str, list[Tensor]] = {}
        self._boundary: dict[str, list[Tensor]] = {}
        self._confusion: dict[str, Tensor] = {}
        self.seconds: dict[str, float] = {}

    def add(self, task: str, pred_mask: Tensor, gt_mask: Tensor) -> None:
        """Count predicted against annotated masks, (B, H, W) each, of the next B images."""
        size, classes = (int(gt_mask.shape[1]), int(gt_mask.shape[2])), self._classes
        counts = class_counts(pred_mask, gt_mask, classes)
        boundary = boundary_counts(pred_mask, gt_mask, classes, width=boundary_width(*size))
        confusion = confusion_matrix(pred_mask, gt_mask, classes)
        self._counts.setdefault(task, []).append(counts)
        self._boundary.setdefault(task, []).append(boundary)
        self._confusion[task] = confusion + self._confusion.get(task, 0)

    def outcome(
        self, parameters: dict[str, dict[str, int]], curve: list[dict[str, float]]
    ) -> Outcome:
        """Everything that was measured, with the sizes and the training of the network."""
        return Outcome(
            counts={task: torch.cat(parts).numpy() for task, parts in self._counts.items()},
            boundary={task: torch.cat(parts).numpy() for task, parts in self._boundary.items()},
            confusion={task: pixels.numpy() for task, pixels in self._confusion.items()},
            parameters=parameters,
            seconds=self.seconds,
            curve=curve,
        )


def parameter_counts(model: WeakCLIP) -> dict[str, dict[str, int]]:
    """Parameters of each component and of the frozen towers: {"total", "trainable"}."""
    modules = {
        **model.components,
        "image tower": model.image_tower,
        "text tower": model.text_tower,
    }
    return {
        name: {
            "total": sum(p.numel() for p in module.parameters()),
            "trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
        }
        for name, module in modules.items()
    }


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Add the wall-clock time of a block to a phase."""
    start = time.perf_counter()
    yield
    seconds[phase] = round(seconds.get(phase, 0.0) + time.perf_counter() - start, 3)
