"""The size at which an image is processed, and the way back to the size of its file."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

FEWEST_PATCHES = 4  # per side: at half the size, the coarsest pyramid level still has a cell


def working_size(size: tuple[int, int], max_side: int, patch: int) -> tuple[int, int]:
    """Height and width to work at: multiples of the patch, the long side at most `max_side` pixels.

    Images are not enlarged, except to 4 patches per side.

    Example:
        >>> working_size((375, 500), 512, 16), working_size((3000, 4000), 512, 16)
        ((368, 496), (384, 512))
        >>> working_size((10, 20_000), 512, 16)
        (64, 512)
    """
    scale = min(1.0, max_side / max(size))
    most = max(FEWEST_PATCHES, max_side // patch)
    height, width = (
        patch * min(max(round(side * scale / patch), FEWEST_PATCHES), most) for side in size
    )
    return height, width


def shrink(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image (3, H, W), uint8, with antialiasing; the same tensor if the size fits."""
    if tuple(image.shape[1:]) == size:
        return image
    resized = F.interpolate(
        image[None].float(), size, mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def labels_at(scores: Tensor, image_labels: Tensor, size: tuple[int, int]) -> Tensor:
    """The label with the largest score at each pixel, at the size of the file: (H, W), uint8.

    Scores are (K, h, w), background first, and are resized bilinearly; only background and tagged
    classes (F,), bool, are considered.

    Example:
        >>> scores = torch.tensor([[[0.4, 0.1]], [[0.9, 0.9]], [[0.2, 0.8]]])
        >>> labels_at(scores, torch.tensor([False, True]), (1, 2)).tolist()
        [[0, 2]]
    """
    known = torch.cat([image_labels.new_ones(1), image_labels]).nonzero()[:, 0]
    if len(known) < len(scores):
        scores = scores[known.to(scores.device)]
    chosen = scores_at(scores, size)
    return known[chosen.max(dim=0).indices.cpu()].to(torch.uint8)  # faster than argmax


def scores_at(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize scores (K, h, w) to another height and width, bilinear (align_corners false)."""
    if tuple(scores.shape[1:]) == size:
        return scores
    return F.interpolate(scores[None], size, mode="bilinear", align_corners=False)[0]
