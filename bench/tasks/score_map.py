"""The score map as a prediction of its own: what prompts and matching make, before any decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weakclip.ops.confusion import class_counts, miou
from weakclip.stages.size import labels_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from weakclip.stages.images import WorkingImages
    from weakclip.stages.network import TrainedWeakCLIP

BEFORE, AFTER = "score_map_before", "score_map_after"
"""Metrics of a task: the score map before the first step of a training, and after the last."""
_BATCH = 50


def score_map_miou(
    network: TrainedWeakCLIP,
    data: WorkingImages,
    truth: Callable[[Sequence[int]], list[Tensor]],
    *,
    tags_used: bool,
) -> float:
    """Pooled mIoU of the largest text-to-pixel cosine of each pixel, a fraction.

    It is resized as the matching loss does, so background is the class that the method learns.

    Args:
        network: Whose score map.
        data: Images of a split.
        truth: Annotated masks of some of its images, (H, W) each.
        tags_used: Whether only the background and the tagged classes of an image compete.
    """
    total: Tensor | None = None
    for group in data.groups(range(len(data)), _BATCH):
        images, tags = data.stack(group, network.device)
        known = tags.cpu() if tags_used else torch.ones(tags.shape, dtype=torch.bool)
        maps = network.score_maps(images)
        for score_map, labels, mask in zip(maps, known, truth(group), strict=True):
            found = labels_at(score_map, labels, (mask.shape[0], mask.shape[1])).long()
            counts = class_counts(found[None], mask[None], len(score_map))[0]
            total = counts if total is None else total + counts
    assert total is not None
    return float(miou(total))
