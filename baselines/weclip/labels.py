"""The pseudo labels of WeCLIP: class activation maps refined with attention, then with pixels.

In the first phase of training the maps of an image are refined with the mean attention of CLIP's
last blocks, as in CLIP-ES. In the second phase the blocks are selected for each image, and their
attention is multiplied by the affinity that the decoder has learnt so far (the refinement module of
the frozen CLIP, "RFM").

References:
    Zhang et al., "Frozen CLIP: A Strong Backbone for Weakly Supervised Semantic Segmentation"
    (WeCLIP), CVPR 2024; section "frozen CLIP CAM refinement".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from weakclip.ops.pamr import DILATIONS, PAR_KERNEL, pamr
from weakclip.stages.refine import (
    BackgroundRule,
    Power,
    known_labels,
    on_known_labels,
    with_background,
)
from weakclip.stages.seeds import affinity_refined, grad_cams

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.clip_es import ClipESMasker
    from weakclip.clip.tower import TokenTrace

RELEASED_BACKGROUND = Power(alpha=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selection of the blocks whose attention is multiplied by the decoder's affinity."""

    blocks: float = 1 / 2
    """Fraction of the blocks, the last ones, from which to select (VOC 6 of 12, COCO 10 of 12)."""
    rule: Literal["release", "paper"] = "release"
    """Blocks are selected by the difference of attention and affinity, compared with its mean over
    the blocks. `release`: the signed sum of differences must not be above the mean; the affinity
    cancels out, and blocks whose patches attend less to the class token are selected. `paper`: the
    sum of absolute differences must be below the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabels:
    """Settings of the step from maps to labels. The defaults are the release's."""

    background: BackgroundRule = RELEASED_BACKGROUND
    iterations: int = 20
    """Iterations of pixel-adaptive refinement."""
    dilations: tuple[int, ...] = DILATIONS


def chosen_blocks(
    attention: Tensor, affinity: Tensor, rule: Literal["release", "paper"]
) -> tuple[Tensor, Tensor]:
    """The blocks that are selected for each image.

    Args:
        attention: Attention of k blocks between patches, (B, k, n, n).
        affinity: Affinity of the decoder, (B, n, n).
        rule: See `Selection`.

    Returns:
        Difference of each block to the affinity, (B, k), and whether it is selected, (B, k), bool;
        at least one block always is.
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
    """Mean attention of the selected blocks times the affinity, (B, n, n); see `chosen_blocks`."""
    _, chosen = chosen_blocks(attention, affinity, rule)
    weights = chosen.to(attention.dtype)
    total = torch.einsum("bk,bkij->bij", weights, attention)
    return affinity * total / (weights.sum(dim=1).view(-1, 1, 1) + 1e-5)


class LearntMaps:
    """Class activation maps of a frozen CLIP, refined with its attention and a learnt affinity."""

    def __init__(self, start: ClipESMasker, selection: Selection) -> None:
        """Take the frozen CLIP and the settings of its maps.

        Args:
            start: Makes the maps; its affinity settings are those of the first phase.
            selection: Selection of blocks in the second phase.

        Raises:
            ValueError: If `start` has no affinity.
        """
        self.clip, self.texts, self.source = start.clip, start.texts, start.spec.source
        affinity, depth = self.source.affinity, start.clip.image.depth
        if affinity is None:
            raise ValueError("maps: expected an affinity, got none; start from clip_es.VOC")
        self.affinity, self.rule = affinity, selection.rule
        self.first_blocks = affinity.last_blocks(depth)
        self.chosen_from = replace(affinity, blocks=selection.blocks).last_blocks(depth)

    def trace(self, normal: Tensor) -> TokenTrace:
        """CLIP's forward pass on normalised images, with the attention of each block in use."""
        blocks = max(self.first_blocks, self.chosen_from)
        return self.clip.image.forward_tokens(normal, attention_blocks=blocks, keep="each")

    @torch.no_grad()
    def refined(
        self,
        trace: TokenTrace,
        image_labels: Tensor,
        affinity: Tensor | None,
        *,
        start: Tensor | None = None,
    ) -> Tensor:
        """Refined maps of the tagged classes.

        Args:
            trace: CLIP's forward pass on B images.
            image_labels: Image-level tags, (B, F), bool.
            affinity: The learnt affinity, (B, hw, hw); None in the first phase.
            start: Maps to refine, (B, F, h, w), in [0, 1]; None: CLIP's Grad-CAMs.

        Returns:
            (B, F, h, w), in [0, 1], each scaled to the maximum of the map before refinement: 1,
            except for maps that are crops of larger ones. 0 for classes that are not tagged.
        """
        if start is None:
            maps = grad_cams(self.clip, trace, image_labels, self.texts, self.source)
        else:
            maps = start[image_labels]
        pairs = image_labels.nonzero()
        carried = affinity_refined(maps, self.attention(trace, affinity), pairs, self.affinity)
        result = maps.new_zeros(*image_labels.shape, *trace.grid)
        result[image_labels] = carried * maps.amax(dim=(1, 2), keepdim=True)
        return result

    def attention(self, trace: TokenTrace, affinity: Tensor | None) -> Tensor:
        """The attention with which maps are refined, (B, hw, hw); arguments as in `refined`."""
        assert trace.attention is not None
        patches = trace.attention[:, :, 1:, 1:]
        if affinity is None:
            return patches[:, -self.first_blocks :].mean(dim=1)
        return learnt_attention(patches[:, -self.chosen_from :], affinity, self.rule)


@torch.no_grad()
def pseudo_scores(images: Tensor, image_labels: Tensor, maps: Tensor, spec: PseudoLabels) -> Tensor:
    """Class scores whose arg-max is the pseudo label.

    Args:
        images: (B, 3, H, W), any dtype and range.
        image_labels: Image-level tags, (B, F), bool.
        maps: (B, F, h, w), in [0, 1].
        spec: Settings.

    Returns:
        (B, 1 + F, H, W), background first; the refinement can make them larger than 1. 0 for
        classes that are not tagged.
    """
    known = known_labels(image_labels)
    scores = with_background(maps, (images.shape[2], images.shape[3]), spec.background)

    def refine(some: Tensor) -> Tensor:
        return pamr(
            images, some, iterations=spec.iterations, dilations=spec.dilations, kernel=PAR_KERNEL
        )

    return on_known_labels(refine, scores * known[:, :, None, None], known)
