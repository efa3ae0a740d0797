"""From patch and text embeddings to class activation maps, for training-free dense CLIPs.

Two steps, because windows of an image are averaged between them: embeddings to text similarities
(`similarities`), and similarities of the whole image to maps of the tagged classes
(`activation_maps`). A class may have several names; the best one counts.

References:
    Zhou et al., MaskCLIP, ECCV 2022; Wang et al., SCLIP, ECCV 2024 (`PresentSoftmax`).
    Bousselham et al., GEM, CVPR 2024 (`MinMax`).
    Li et al., CLIP Surgery, 2023; Yang et al., ExCEL, CVPR 2025 (`FeatureSurgery`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.cam import normalise_cam, present_softmax

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentSoftmax:
    """Softmax of each patch over the names of the tags and the background words."""

    scale: float | None = None
    """Factor of the cosines; None: CLIP's own, 100 for OpenAI's."""
    prompt_denoising: float | None = None
    """Names whose probability stays below this everywhere get no score (0.5); None: off."""
    key_smoothing: float | None = None
    """Patches whose largest probability is below this (1: all) take the scores of patches with
    similar keys; None: off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinMax:
    """Cosines, each map stretched by itself: classes do not compete, words play no part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSurgery:
    """Cosines without what all texts share, each map stretched by itself."""

    redundancy: Literal["weighted", "mean"] = "weighted"
    """What is taken away from the cosines s of a patch. `weighted`: from w s the mean over all
    texts of w s, with w = T softmax(2 g) of the image's cosines g to T texts; `mean`: the mean of
    s."""
    texts: Literal["tagged", "all"] = "tagged"
    """Texts that take part: those of the tags and the background words, or all."""
    norm: Literal["channels", "tokens"] = "channels"
    """Over what the tokens of an image are normalised; `tokens` (ExCEL's release) divides every
    channel by its norm over the image, so that there is no cosine."""
    extremes: Literal["patches", "tokens"] = "patches"
    """What a map is stretched by; with `tokens` the image's own value counts as well, so that the
    largest patch may be below 1."""


CLIPS_SOFTMAX = PresentSoftmax()
"""With CLIP's own scale, nothing repaired."""

Scores: TypeAlias = PresentSoftmax | MinMax | FeatureSurgery


@dataclass(frozen=True, slots=True)
class Similarities:
    """Similarity of an image and of its patches to T texts."""

    image: Tensor
    """(B, T)."""
    patches: Tensor
    """(B, T, h, w)."""


def similarities(
    scores: Scores, image: Tensor, dense: Tensor, texts: Tensor, allowed: Tensor
) -> Similarities:
    """Text similarities of an image and its patches.

    Args:
        scores: Which ones.
        image: Image embeddings, (B, E), any scale.
        dense: Patch embeddings, (B, E, h, w), any scale.
        texts: (T, E), of length 1.
        allowed: Texts that may take part, (B, T), bool.
    """
    match scores:
        case PresentSoftmax() | MinMax():
            return Similarities(
                image=F.normalize(image, dim=1) @ texts.T,
                patches=torch.einsum("bdhw,kd->bkhw", F.normalize(dense, dim=1), texts),
            )
        case FeatureSurgery():
            tokens = torch.cat([image.unsqueeze(2), dense.flatten(2)], dim=2)  # (B, E, 1 + hw)
            unit = F.normalize(tokens, dim=1 if scores.norm == "channels" else 2)
            cosine = torch.einsum("bdn,kd->bkn", unit, texts)
            chosen = allowed if scores.texts == "tagged" else torch.ones_like(allowed)
            clear = _without_redundancy(cosine, chosen, scores.redundancy)
            patches = torch.unflatten(clear[:, :, 1:], 2, dense.shape[2:])
            return Similarities(image=clear[:, :, 0], patches=patches)
        case _:
            assert_never(scores)


def activation_maps(
    scores: Scores,
    found: Similarities,
    image_labels: Tensor,
    owner: Tensor,
    *,
    logit_scale: float,
    keys: Tensor | None = None,
) -> Tensor:
    """Class activation maps of the tagged classes.

    Args:
        scores: How they are made.
        found: Similarities to N names of classes, then M background words, of the whole image.
        image_labels: Image-level tags, (B, F), bool.
        owner: Class of each name, (N,), int64.
        logit_scale: CLIP's own factor of the cosine.
        keys: Of the patches, (B, hw, D), for `key_smoothing`.

    Returns:
        (B, F, h, w), in [0, 1]; 0 for classes that are not tagged.
    """
    tags = image_labels[:, :, None, None]
    match scores:
        case PresentSoftmax():
            scale = logit_scale if scores.scale is None else scores.scale
            chances = class_chances(
                scale * found.patches, image_labels, owner, scores.prompt_denoising
            )
            if scores.key_smoothing is not None:
                if keys is None:
                    raise ValueError("key_smoothing: expected keys of the patches, got none")
                chances = smooth(chances, keys, scores.key_smoothing)
            return normalise_cam(chances * tags)
        case MinMax():
            best = best_name(found.patches[:, : len(owner)], owner, image_labels.shape[1])
            return normalise_cam(best) * tags
        case FeatureSurgery():
            tokens = torch.cat([found.image.unsqueeze(2), found.patches.flatten(2)], dim=2)
            tokens = tokens if scores.extremes == "tokens" else tokens[:, :, 1:]
            best = best_name(tokens[:, : len(owner)], owner, image_labels.shape[1])
            stretched = normalise_cam(best.unsqueeze(2)).squeeze(2)
            height, width = found.patches.shape[2:]
            return torch.unflatten(stretched[:, :, -height * width :], 2, (height, width)) * tags
        case _:
            assert_never(scores)


def class_chances(
    logits: Tensor, image_labels: Tensor, owner: Tensor, denoising: float | None = None
) -> Tensor:
    """Softmax over the names of the tags and the background words, per class its best name.

    Args:
        logits: Of N names, then M background words, (B, N + M, h, w).
        image_labels: (B, F), bool.
        owner: Class of each name, (N,), int64.
        denoising: See `PresentSoftmax.prompt_denoising`.

    Returns:
        Probabilities, (B, F, h, w); 0 for classes that are not tagged.
    """
    tagged = image_labels[:, owner]
    if denoising is not None:
        logits = denoise(logits, tagged, denoising)
    return best_name(present_softmax(logits, tagged), owner, image_labels.shape[1])


def best_name(maps: Tensor, owner: Tensor, classes: int) -> Tensor:
    """For each class the maximum over its names.

    Args:
        maps: Of N names, (B, N, ...).
        owner: Class of each name, (N,), int64; every class has one or more.
        classes: F.

    Returns:
        (B, F, ...).

    Example:
        >>> best_name(torch.tensor([[1.0, 5.0, 3.0]]), torch.tensor([0, 1, 0]), 2)
        tensor([[3., 5.]])
    """
    lowest = maps.new_full((len(maps), classes, *maps.shape[2:]), -torch.inf)
    index = owner.view(1, -1, *[1] * (maps.ndim - 2)).expand_as(maps)
    return lowest.scatter_reduce(1, index, maps, "amax")


def denoise(logits: Tensor, tagged: Tensor, threshold: float) -> Tensor:
    """Drop the names that win nowhere: their logits become -inf.

    Args:
        logits: Of N names, then M background words, (B, N + M, h, w).
        tagged: (B, N), bool; other names take no part.
        threshold: Least probability a name must reach somewhere, in [0, 1].

    Returns:
        (B, N + M, h, w); background words are never dropped, so every patch keeps a text.
    """
    seen = present_softmax(logits, tagged).amax(dim=(2, 3)) >= threshold
    background = logits.shape[1] - tagged.shape[1]
    kept = F.pad(seen, (0, background), value=True)
    return logits.masked_fill(~kept[:, :, None, None], -torch.inf)


def smooth(chances: Tensor, keys: Tensor, threshold: float) -> Tensor:
    """Give unsure patches the scores of patches with similar keys.

    Args:
        chances: (B, F, h, w), in [0, 1].
        keys: Of the patches, (B, hw, D), any scale.
        threshold: Patches whose largest probability is below this are replaced.

    Returns:
        (B, F, h, w): sum over all patches of key cosine times probability. The weights do not sum
        to 1 and may be negative, so the scale is free.
    """
    unit = F.normalize(keys, dim=2)
    similarity = unit @ unit.transpose(1, 2)  # (B, hw, hw), symmetric
    mixed = torch.unflatten(chances.flatten(2) @ similarity, 2, chances.shape[2:])
    unsure = chances.amax(dim=1, keepdim=True) < threshold
    return torch.where(unsure, mixed, chances)


def enriched(texts: Tensor, centres: Tensor, *, share: float = 0.9) -> Tensor:
    """Class embeddings moved towards the centres of descriptions they resemble (ExCEL's TSE).

    ExCEL's descriptions were written by a language model and have no licence, so there is no
    method with them here; a caller with attributes clusters their embeddings and calls this.

    Args:
        texts: Class embeddings, (F, E), of length 1.
        centres: Cluster centres of the embedded descriptions, (A, E), any length.
        share: Of the centres of a class, the most similar first, that take part.

    Returns:
        (F, E), of length 1.
    """
    logits = texts @ centres.T
    dropped = int((1 - share) * len(centres) + 1e-9)
    least = logits.topk(dropped, dim=1, largest=False).indices
    weights = logits.scatter(1, least, -torch.inf).softmax(dim=1)
    return F.normalize(texts + weights @ centres, dim=1)


def _without_redundancy(
    cosine: Tensor, chosen: Tensor, redundancy: Literal["weighted", "mean"]
) -> Tensor:
    """Cosines (B, T, 1 + hw) without what the chosen texts (B, T) share; 0 for the others."""
    count = chosen.sum(dim=1, keepdim=True)
    weights = chosen.float()
    if redundancy == "weighted":
        logits = (2 * cosine[:, :, 0]).masked_fill(~chosen, -torch.inf)
        weights = (count * logits.softmax(dim=1)).nan_to_num(0)  # no text at all: 0
    weighted = weights.unsqueeze(2) * cosine
    shared = weighted.sum(dim=1, keepdim=True) / count.clamp(min=1).unsqueeze(2)
    return (weighted - shared) * chosen.unsqueeze(2)
