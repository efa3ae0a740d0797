"""Seed labels from image and tags with the frozen CLIP, without training.

A *source* defines how a class activation map (CAM) is made, a *rule* where it is certain enough to
be a seed. No rule uses a pixel annotation; a benchmark row that does is marked "oracle".

References:
    Lin et al., CLIP-ES, CVPR 2023 (softmax over present classes and background texts, CAA).
    Zhou et al., MaskCLIP, ECCV 2022 (patch embeddings as dense scores).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip.dense import VALUE_PATH, dense_tokens
from weakclip.ops.affinity import box_mask, sinkhorn_affinity, spread
from weakclip.ops.cam import grad_cam, normalise_cam, present_softmax
from weakclip.ops.seed import otsu_band, seed_from_cam

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import TokenTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSoftmax:
    """Softmax of each patch embedding over present classes and background texts."""

    path: Literal["output", "value"] = "output"
    """`value`: MaskCLIP's value path through the last block, instead of its attention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """CLIP-ES's class-aware attention affinity, applied to a Grad-CAM."""

    blocks: float = 2 / 3
    """Fraction of the blocks, counted from the last, whose attention is averaged (CLIP-ES: 8 of
    12)."""
    box_threshold: float = 0.4
    boxes: Literal["whole", "release"] = "whole"
    """`release` never includes the last row and column, as the release's code does."""
    power: int = 2

    def last_blocks(self, depth: int) -> int:
        """Number of blocks to average in a tower of `depth` blocks; at least one.

        Example:
            >>> Affinity().last_blocks(12)
            8
        """
        count = math.ceil(self.blocks * depth - 1e-9)  # 8 / 11 of 11 blocks are 8, not 9
        return max(1, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxGradCAM:
    """Gradient of a class's softmax probability with respect to the tokens of the last block."""

    layer: Literal["block-input", "ln_1"] = "block-input"
    """`ln_1` is where CLIP-ES places its hook; the gradient then passes only through the last
    block's attention. `block-input` includes the residual path, which holds the local evidence of
    a shallow tower with average pooling."""
    pooling: Literal["tower", "patches"] = "tower"
    """Which embedding gives the probability: the tower's own pooling, or the mean of the patch
    tokens however the tower was trained (CLIP-ES, with a class-token CLIP)."""
    stretch: Literal["once", "twice"] = "once"
    """How often a map is normalised to [0, 1]. Twice (CLIP-ES) matters for gradients so small that
    the constant of 1e-7 in the denominator keeps a map's maximum below 1."""
    affinity: Affinity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedBand:
    """The same two thresholds for every image."""

    low: float = 0.2
    high: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class OtsuBand:
    """An undecided band around each image's own Otsu threshold."""

    width: float = 1.0
    """1: from the mean of the values below the threshold to the mean of those above it."""


CAMSource: TypeAlias = PatchSoftmax | SoftmaxGradCAM
SeedRule: TypeAlias = FixedBand | OtsuBand


@dataclass(frozen=True, slots=True)
class TextBank:
    """Normalised text embeddings of the classes and of the background."""

    foreground: Tensor
    """(F, E)."""
    background: Tensor
    """(M, E)."""


def encode_texts(
    clip: CLIPBundle,
    names: Sequence[str],
    background: Sequence[str],
    template: str = "a photo of a {}.",
) -> TextBank:
    """Text embeddings of classes and background words in a sentence with one `{}`.

    Raises:
        ValueError: If a word is unknown to the tokeniser of a CLIP with a small vocabulary.
    """

    def encode(words: Sequence[str]) -> Tensor:
        device = clip.text.positional_embedding.device
        if not words:
            return torch.zeros(0, clip.image.embed_dim, device=device)
        ids = clip.tokenize([template.format(word) for word in words])
        return F.normalize(clip.text.encode_tokens(ids.to(device)), dim=-1)

    return TextBank(encode(names), encode(background))


def class_activation_maps(
    clip: CLIPBundle, images: Tensor, image_labels: Tensor, texts: TextBank, source: CAMSource
) -> Tensor:
    """Maps of the tagged classes of normalised images: (B, F, h, w) on the patch grid, in [0, 1].

    They are 0 for classes that are not tagged, (B, F), bool, or have no positive evidence.
    """
    match source:
        case PatchSoftmax():
            cam = _patch_softmax(clip, images, image_labels, texts, source)
        case SoftmaxGradCAM():
            cam = _softmax_grad_cam(clip, images, image_labels, texts, source)
    return cam


def seeds_from(cam: Tensor, size: tuple[int, int], rule: SeedRule) -> Tensor:
    """Seed labels of CAMs (B, F, h, w) at `size`: (B, H, W), int64, 255 = undecided."""
    match rule:
        case FixedBand():
            low = torch.full((len(cam),), rule.low, device=cam.device)
            high = torch.full((len(cam),), rule.high, device=cam.device)
        case OtsuBand():
            low, high = otsu_band(cam, width=rule.width)
    return seed_from_cam(cam, size, low, high)


@torch.no_grad()
def _patch_softmax(
    clip: CLIPBundle, images: Tensor, image_labels: Tensor, texts: TextBank, source: PatchSoftmax
) -> Tensor:
    trace = clip.image.forward_tokens(images)
    last = trace.tokens[-1]
    if source.path == "value":
        last = dense_tokens(clip.image, trace, VALUE_PATH)
    _, dense = clip.image.read_out(last, trace.grid)
    everything = torch.cat([texts.foreground, texts.background])
    cosine = torch.einsum("bdhw,kd->bkhw", F.normalize(dense, dim=1), everything)
    return normalise_cam(present_softmax(clip.logit_scale * cosine, image_labels))


def _softmax_grad_cam(
    clip: CLIPBundle, images: Tensor, image_labels: Tensor, texts: TextBank, source: SoftmaxGradCAM
) -> Tensor:
    blocks = 0 if source.affinity is None else source.affinity.last_blocks(clip.image.depth)
    trace = clip.image.forward_tokens(images, attention_blocks=blocks)
    maps = grad_cams(clip, trace, image_labels, texts, source)
    if source.affinity is not None and trace.attention is not None:
        patches, pairs = trace.attention[:, 1:, 1:], image_labels.nonzero()
        maps = affinity_refined(maps, patches, pairs, source.affinity)
    cam = torch.zeros(*image_labels.shape, *trace.grid, device=images.device)
    cam[image_labels] = maps
    return cam


def grad_cams(
    clip: CLIPBundle,
    trace: TokenTrace,
    image_labels: Tensor,
    texts: TextBank,
    source: SoftmaxGradCAM,
) -> Tensor:
    """Grad-CAMs of the trace of B images with tags (B, F), bool, before any affinity.

    Returns:
        (P, h, w), in [0, 1], for the P tags in the order of `image_labels.nonzero()`.
    """
    tokens, pairs = trace.tokens[-2], image_labels.nonzero()

    def probability(activations: Tensor, pairs: Tensor) -> Tensor:
        if source.layer == "ln_1":
            output = clip.image.last_block(tokens[pairs[:, 0]], activations)
        else:
            output = clip.image.last_block(activations)
        logits = image_logits(clip, output, trace.grid, texts, pooling=source.pooling)
        chances = present_softmax(logits, image_labels[pairs[:, 0]])
        return chances.gather(1, pairs[:, 1:]).squeeze(1)

    activations = clip.image.last_norm(tokens) if source.layer == "ln_1" else tokens
    maps = normalise_cam(grad_cam(probability, activations, pairs).view(-1, *trace.grid))
    return normalise_cam(maps) if source.stretch == "twice" else maps


def image_logits(
    clip: CLIPBundle,
    tokens: Tensor,
    grid: tuple[int, int],
    texts: TextBank,
    *,
    pooling: Literal["tower", "patches"] = "tower",
) -> Tensor:
    """CLIP's logits of images for all texts, (B, F + M): `logit_scale` times the cosine.

    Gradients flow to `tokens`, the output of the last block, (B, 1 + hw, D), on a grid (h, w).
    """
    image, dense = clip.image.read_out(tokens, grid)
    if pooling == "patches":
        image = dense.mean(dim=(2, 3))
    everything = torch.cat([texts.foreground, texts.background])
    return clip.logit_scale * F.normalize(image, dim=-1) @ everything.T


def affinity_refined(maps: Tensor, attention: Tensor, pairs: Tensor, spec: Affinity) -> Tensor:
    """CAA: maps restricted to their boxes, propagated along CLIP's attention, scaled to [0, 1].

    Images are treated one by one, so only one affinity of (hw)^2 values is held at a time.

    Args:
        maps: (P, h, w), in [0, 1].
        attention: Attention between the patches of B images, (B, hw, hw), positive: the mean over
            the last blocks, without the class token.
        pairs: The first column is the image index of each map, (P, 1 or more), int64.
        spec: Boxes and power.

    Returns:
        (P, h, w), in [0, 1]; 0 where a map has no box.
    """
    boxes = box_mask(maps, threshold=spec.box_threshold, trim_last=spec.boxes == "release")
    sources = (maps * boxes).flatten(1)
    carried = torch.empty_like(sources)
    for image in torch.unique(pairs[:, 0]).tolist():
        rows = pairs[:, 0] == image
        affinity = sinkhorn_affinity(attention[image].unsqueeze(0), power=1)[0]
        carried[rows] = spread(affinity, sources[rows], power=spec.power)
    return normalise_cam(carried.view_as(maps))
