"""The score map scored as a prediction: the output of prompts and matching, before the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.confusion import class_counts, miou
from weakclip.stages.refine import known_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from weakclip.stages.images import WorkingImages
    from weakclip.stages.network import TrainedWeakCLIP

BEFORE, AFTER = "score_map_before", "score_map_after"
"""Metrics of a task: mIoU of the score map before the first training step and after the last."""


def score_map_miou(
    networks: Mapping[str, TrainedWeakCLIP],
    data: WorkingImages,
    truth: Callable[[Sequence[int]], list[Tensor]],
    *,
    batch: int,
    tags_used: bool,
) -> dict[str, float]:
    """Pooled mIoU, a fraction, of labelling each pixel by the largest text-to-pixel cosine.

    The score map is resized bilinearly as in the matching loss. Background is a class of it.
    Networks are given by the name of their metric and have the same classes; `truth` returns
    annotated masks, (H, W) each. With `tags_used` only the background and the tagged classes of an
    image compete.
    """
    totals: dict[str, Tensor] = {}
    for group in data.groups(range(len(data)), batch):
        gt_masks, device = truth(group), next(iter(networks.values())).device
        images, tags = data.stack(group, device)
        for name, network in networks.items():
            maps = network.score_maps(images)
            if tags_used:
                maps = maps.masked_fill(~known_labels(tags)[:, :, None, None], -2.0)
            for size in dict.fromkeys(mask.shape for mask in gt_masks):
                places = [place for place, mask in enumerate(gt_masks) if mask.shape == size]
                wanted = (int(size[0]), int(size[1]))
                large = F.interpolate(maps[places], wanted, mode="bilinear", align_corners=False)
                found = large.max(dim=1).indices.cpu()
                gt_mask = torch.stack([gt_masks[place] for place in places])
                counts = class_counts(found, gt_mask, large.shape[1]).sum(dim=0)
                totals[name] = totals[name] + counts if name in totals else counts
    return {name: float(miou(total)) for name, total in totals.items()}
