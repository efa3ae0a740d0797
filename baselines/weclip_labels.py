"""Labels that WeCLIP learns from: class activation maps spread along attention, then refined.

First the maps of an image are spread along the mean attention of CLIP's last blocks, as CLIP-ES
does. Later, the blocks are chosen image by image and their attention is multiplied by the affinity
that the decoder has learnt so far (the refinement module of the frozen CLIP, "RFM").

References:
    Zhang et al., "Frozen CLIP: A Strong Backbone for Weakly Supervised Semantic Segmentation"
    (WeCLIP), CVPR 2024; section "frozen CLIP CAM refinement".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from baselines.refinement import (
    BackgroundRule,
    Power,
    known_labels,
    on_known_labels,
    with_background,
)
from weakclip.ops.pamr import DILATIONS, PAR_KERNEL, pamr
from weakclip.stages.seeds import affinity_refined

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.stages.seeds import Affinity

RELEASED_BACKGROUND = Power(alpha=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which blocks' attention the decoder's affinity is multiplied with."""

    blocks: float = 1 / 2
    """Share of the last blocks to choose from (6 of 12 on VOC, 10 of 12 on COCO)."""
    rule: Literal["release", "paper"] = "release"
    """A block is chosen if its difference to the affinity is not above the mean of the blocks.
    `release`: the difference is a sum with signs, so that the affinity cancels out and blocks
    whose patches attend less to the class token win. `paper`: a sum of absolute differences, and
    below the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabels:
    """How maps become labels. The defaults are the release's."""

    background: BackgroundRule = RELEASED_BACKGROUND
    iterations: int = 20
    """Rounds of pixel-adaptive refinement."""
    dilations: tuple[int, ...] = DILATIONS


def chosen_blocks(
    attention: Tensor, affinity: Tensor, rule: Literal["release", "paper"]
) -> tuple[Tensor, Tensor]:
    """Which blocks are chosen, image by image.

    Args:
        attention: Attention of k blocks between patches, (B, k, n, n).
        affinity: The decoder's, (B, n, n).
        rule: See `Selection`.

    Returns:
        Difference of each block to the affinity, (B, k), and whether it is chosen, (B, k), bool;
        at least one always is.
    """
    signed = affinity.unsqueeze(1) - attention
    parts = signed.abs() if rule == "paper" else signed
    difference = parts.sum(dim=(2, 3), dtype=torch.float64)
    mean, least = difference.mean(dim=1, keepdim=True), difference.amin(dim=1, keepdim=True)
    below = difference < mean if rule == "paper" else difference <= mean
    return difference, below | (difference == least)


def learnt_attention(
    attention: Tensor, affinity: Tensor, rule: Literal["release", "paper"]
) -> Tensor:
    """Mean attention of the chosen blocks times the affinity, (B, n, n); see `chosen_blocks`."""
    _, chosen = chosen_blocks(attention, affinity, rule)
    weights = chosen.to(attention.dtype)
    total = torch.einsum("bk,bkij->bij", weights, attention)
    return affinity * total / (weights.sum(dim=1).view(-1, 1, 1) + 1e-5)


def spread_maps(maps: Tensor, attention: Tensor, image_labels: Tensor, spec: Affinity) -> Tensor:
    """Maps spread along attention, each no higher than it was.

    Args:
        maps: (P, h, w), in [0, 1], of the P tags in the order of `image_labels.nonzero()`.
        attention: Of the patches, (B, hw, hw), positive.
        image_labels: Image-level tags, (B, F), bool.
        spec: Boxes and power.

    Returns:
        (B, F, h, w), in [0, 1]: a map is stretched to the maximum it had, which is 1 but where it
        was cut from a larger one. 0 for classes that are not tagged.
    """
    carried = affinity_refined(maps, attention, image_labels.nonzero(), spec)
    result = maps.new_zeros(*image_labels.shape, *maps.shape[1:])
    result[image_labels] = carried * maps.amax(dim=(1, 2), keepdim=True)
    return result


@torch.no_grad()
def pseudo_scores(images: Tensor, image_labels: Tensor, maps: Tensor, spec: PseudoLabels) -> Tensor:
    """Class scores whose arg-max is the pseudo label.

    Args:
        images: (B, 3, H, W), any type and range.
        image_labels: Image-level tags, (B, F), bool.
        maps: (B, F, h, w), in [0, 1].
        spec: How.

    Returns:
        (B, 1 + F, H, W), background first; they grow beyond 1 by the refinement. 0 for classes
        that are not tagged.
    """
    known = known_labels(image_labels)
    scores = with_background(maps, (images.shape[2], images.shape[3]), spec.background)

    def refine(some: Tensor) -> Tensor:
        return pamr(
            images, some, iterations=spec.iterations, dilations=spec.dilations, kernel=PAR_KERNEL
        )

    return on_known_labels(refine, scores * known[:, :, None, None], known)
