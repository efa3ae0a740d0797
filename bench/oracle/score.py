"""Oracle score of a network: mIoU of its masks of training images against their annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weakclip.ops.confusion import class_counts, miou
from weakclip.stages.size import labels_at

if TYPE_CHECKING:
    from weakclip.stages.images import WorkingImages
    from weakclip.stages.protocols import Segmenter, Setting


def oracle_miou(network: Segmenter, data: WorkingImages, setting: Setting, batch: int) -> float:
    """MIoU of a network's masks, restricted to the tags, pooled over the images; a fraction.

    Raises:
        ValueError: If an image has no annotated mask.
    """
    total = torch.zeros(len(setting.class_names) + 1, 3, dtype=torch.long)
    for group in data.groups(range(len(data)), batch):
        images, _ = data.stack(group, setting.device)
        for index, scores in zip(group, network.probabilities(images).cpu(), strict=True):
            mask = data.files.gt_mask(index)
            if mask is None:
                name = data.files.names[index]
                raise ValueError(f"{name}: expected an annotated mask for the oracle, got none")
            truth = torch.from_numpy(mask).long()
            size = (int(truth.shape[0]), int(truth.shape[1]))
            labels = labels_at(scores, data.image_labels[index], size)
            total += class_counts(labels[None].long(), truth[None], len(total))[0]
    return float(miou(total))
