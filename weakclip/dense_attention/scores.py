"""Class activation maps from patch and text embeddings, for training-free dense CLIPs.

There are two steps, because the windows of an image are averaged in between: embeddings to text
similarities (`similarities`), and similarities of the whole image to maps of the tagged classes
(`activation_maps`). If a class has several names, the best one counts.

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
    """Factor on the cosines; None: CLIP's own, 100 for OpenAI's."""
    prompt_denoising: float | None = None
    """A name whose probability is below this at every patch gets no score (e.g. 0.5); None: off."""
    key_smoothing: float | None = None
    """Patches whose largest probability is below this (1: all) get the scores of patches with
    similar keys; None: off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinMax:
    """Cosines, each map scaled to [0, 1] on its own; neither other classes nor words matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSurgery:
    """Cosines without the component that all texts share, each map scaled to [0, 1]."""

    redundancy: Literal["weighted", "mean"] = "weighted"
    """What is subtracted from the cosines s of a patch. `weighted`: from w s its mean over all
    texts, with w = T softmax(2 g) for the image's cosines g to T texts; `mean`: from s its mean."""
    texts: Literal["tagged", "all"] = "tagged"
    """Texts that are used: those of the tags and the background words, or all."""
    norm: Literal["channels", "tokens"] = "channels"
    """Axis over which the tokens of an image are normalised. `tokens` (ExCEL's release) divides
    each channel by its norm over the tokens, so the similarities are no cosines."""
    extremes: Literal["patches", "tokens"] = "patches"
    """Values whose extremes scale a map. With `tokens` the image's own value is included, so the
    largest patch may be below 1."""


CLIPS_SOFTMAX = PresentSoftmax()
"""CLIP's own scale, without denoising and smoothing."""

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
        scores: Which similarities.
        image: Image embeddings, (B, E), any scale.
        dense: Patch embeddings, (B, E, h, w), any scale.
        texts: Text embeddings, (T, E), of length 1.
        allowed: Texts that may be used, (B, T), bool.
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
        scores: How the maps are made.
        found: Similarities of whole images to N class names followed by M background words.
        image_labels: Image-level tags, (B, F), bool.
        owner: Class of each name, (N,), int64.
        logit_scale: CLIP's own factor on the cosine.
        keys: Keys of the patches, (B, hw, D), for `key_smoothing`.

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
    """Softmax over the names of the tags and the background words; per class its best name.

    Args:
        logits: Logits of N names followed by M background words, (B, N + M, h, w).
        image_labels: Image-level tags, (B, F), bool.
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
        maps: Maps of N names, (B, N, ...).
        owner: Class of each name, (N,), int64; every class has at least one.
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
    """Remove names that reach a probability nowhere, by setting their logits to -inf.

    Args:
        logits: Logits of N names followed by M background words, (B, N + M, h, w).
        tagged: Names of tagged classes, (B, N), bool; other names are ignored.
        threshold: Probability that a name must reach at some patch, in [0, 1].

    Returns:
        (B, N + M, h, w); background words are never removed, so every patch keeps a text.
    """
    seen = present_softmax(logits, tagged).amax(dim=(2, 3)) >= threshold
    background = logits.shape[1] - tagged.shape[1]
    kept = F.pad(seen, (0, background), value=True)
    return logits.masked_fill(~kept[:, :, None, None], -torch.inf)


def smooth(chances: Tensor, keys: Tensor, threshold: float) -> Tensor:
    """Give uncertain patches the scores of patches with similar keys.

    Args:
        chances: (B, F, h, w), in [0, 1].
        keys: Keys of the patches, (B, hw, D), any scale.
        threshold: Patches whose largest probability is below this are replaced.

    Returns:
        (B, F, h, w): sum over all patches of key cosine times probability. The weights do not sum
        to 1 and may be negative, so the scale is arbitrary.
    """
    unit = F.normalize(keys, dim=2)
    similarity = unit @ unit.transpose(1, 2)  # (B, hw, hw), symmetric
    mixed = torch.unflatten(chances.flatten(2) @ similarity, 2, chances.shape[2:])
    unsure = chances.amax(dim=1, keepdim=True) < threshold
    return torch.where(unsure, mixed, chances)


def enriched(texts: Tensor, centres: Tensor, *, share: float = 0.9) -> Tensor:
    """Class embeddings moved towards cluster centres of similar descriptions (ExCEL's TSE).

    ExCEL's descriptions were written by a language model and have no licence, so no method here
    uses them; a caller with descriptions can cluster their embeddings and call this.

    Args:
        texts: Class embeddings, (F, E), of length 1.
        centres: Cluster centres of the embedded descriptions, (A, E), any length.
        share: Fraction of the centres used for a class, the most similar ones.

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
    """Cosines (B, T, 1 + hw) without what the chosen texts (B, T) share; 0 for other texts."""
    count = chosen.sum(dim=1, keepdim=True)
    weights = chosen.float()
    if redundancy == "weighted":
        logits = (2 * cosine[:, :, 0]).masked_fill(~chosen, -torch.inf)
        weights = (count * logits.softmax(dim=1)).nan_to_num(0)  # no text at all: 0
    weighted = weights.unsqueeze(2) * cosine
    shared = weighted.sum(dim=1, keepdim=True) / count.clamp(min=1).unsqueeze(2)
    return (weighted - shared) * chosen.unsqueeze(2)
