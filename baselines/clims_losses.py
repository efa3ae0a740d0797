"""The four losses of CLIMS: a frozen CLIP judges what a class activation map lets through.

Of every (image, tagged class) pair two pictures are made: the image times the map, and the image
times one minus the map. CLIP should see the class in the first, not in the second, and no usual
companion of the class (the river of a boat) in the first.

References:
    Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic
    Segmentation", CVPR 2022 (`CVI-SZU/CLIMS`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from weakclip.stages.seeds import TextBank

_LEAST, _MOST = 1e-4, 0.9999  # the release's clamp of a similarity before its logarithm


@dataclass(frozen=True, slots=True, kw_only=True)
class CLIMSLosses:
    """Weights of the four losses; the defaults are the release's for VOC."""

    object_weight: float = 10.0
    """Of OTM: what the map lets through is the class."""
    background_weight: float = 24.0
    """Of BTM: what it holds back is not."""
    companion_weight: float = 1.0
    """Of CBS: what it lets through is no companion."""
    area_weight: float = 0.2
    """Of REG: maps are small."""
    threshold: float = 0.26
    """Cosine above which a companion is suppressed; a hard gate without gradient."""
    companions: Literal["sum", "mean"] = "sum"
    """How CBS is put together: the release's sum grows with the number of tags in a batch; `mean`
    divides it by the number of pairs."""

    def total(self, terms: CLIMSTerms) -> Tensor:
        """The weighted sum of four losses, a scalar."""
        return (
            self.object_weight * terms.object_match
            + self.background_weight * terms.background_match
            + self.companion_weight * terms.companions
            + self.area_weight * terms.area
        )


CLIMS_VOC = CLIMSLosses()
"""The release's for VOC."""

CLIMS_COCO = CLIMSLosses(
    object_weight=2.0, background_weight=14.0, companion_weight=1.25, threshold=0.285
)
"""The release's for COCO, as its README runs it."""


@dataclass(frozen=True, slots=True)
class CLIMSTerms:
    """Four losses of a batch, scalars, and the similarities that they are made of."""

    object_match: Tensor
    background_match: Tensor
    companions: Tensor
    area: Tensor
    foreground_similarity: Tensor
    """Cosine of what the map lets through and its class, (P,)."""
    background_similarity: Tensor
    """Cosine of what the map holds back and its class, (P,)."""


def clims_terms(
    cams: Tensor,
    images: Tensor,
    image_labels: Tensor,
    *,
    embed: Callable[[Tensor], Tensor],
    texts: TextBank,
    size: int,
    losses: CLIMSLosses,
) -> CLIMSTerms:
    """The four losses of a batch; gradients flow to `cams`.

    Args:
        cams: Sigmoid maps, (B, F, h, w), in [0, 1].
        images: What CLIP sees, normalised, (B, 3, H, W).
        image_labels: Image-level tags, (B, F), bool.
        embed: Normalised pictures (2P, 3, S, S) to image embeddings (2P, E) of any length.
        texts: Normalised embeddings of the F classes and of M companions.
        size: Side S of the pictures that CLIP takes.
        losses: Threshold and reduction of the companions' loss.

    Returns:
        The losses; those about pairs are 0 in a batch without tags.

    Raises:
        ValueError: If a rank is wrong.
    """
    dims(cams, "B F h w", name="cams")
    pairs = image_labels.nonzero()
    if len(pairs):
        pictures = torch.cat(masked_images(cams, images, pairs, size=size))
        embeddings = F.normalize(embed(pictures).float(), dim=-1)
    else:
        embeddings = cams.new_zeros(0, texts.foreground.shape[1])
    foreground, background = embeddings[: len(pairs)], embeddings[len(pairs) :]
    classes = texts.foreground[pairs[:, 1]]
    seen, missed = (foreground * classes).sum(dim=1), (background * classes).sum(dim=1)
    return CLIMSTerms(
        object_match=object_loss(seen),
        background_match=background_loss(missed),
        companions=companion_loss(
            foreground @ texts.background.T,
            threshold=losses.threshold,
            reduction=losses.companions,
        ),
        area=cams.mean(),
        foreground_similarity=seen,
        background_similarity=missed,
    )


def masked_images(
    cams: Tensor, images: Tensor, pairs: Tensor, *, size: int
) -> tuple[Tensor, Tensor]:
    """What each map lets through and what it holds back, at CLIP's size.

    Only the maps of pairs are resized. 0 is the mean colour of a normalised image, not black.

    Args:
        cams: (B, F, h, w), in [0, 1].
        images: Normalised images, (B, 3, H, W).
        pairs: Image and class, (P, 2), int64.
        size: Side S of the result; bilinear with align_corners true and no antialiasing.

    Returns:
        Two of (P, 3, S, S), whose sum is the resized image.
    """
    dims(pairs, "P 2", name="pairs")
    square = (size, size)
    maps = cams[pairs[:, 0], pairs[:, 1]].unsqueeze(1)
    maps = F.interpolate(maps, square, mode="bilinear", align_corners=True)
    small = F.interpolate(images, square, mode="bilinear", align_corners=True)[pairs[:, 0]]
    return maps * small, (1 - maps) * small


def object_loss(similarity: Tensor) -> Tensor:
    """OTM, object text-image matching: -ln s of the pairs, mean; 0 without pairs.

    Args:
        similarity: Cosine with the class's text, (P,).

    Example:
        >>> round(float(object_loss(torch.tensor([0.25]))), 5)
        1.38629
    """
    return _mean(-similarity.clamp(_LEAST, _MOST).log())


def background_loss(similarity: Tensor) -> Tensor:
    """BTM, background text-image matching: -ln(1 - s) of the pairs, mean; 0 without pairs.

    Args:
        similarity: Cosine of what is held back with the class's text, (P,).

    Example:
        >>> round(float(background_loss(torch.tensor([0.25]))), 5)
        0.28768
    """
    return _mean(-(1 - similarity.clamp(_LEAST, _MOST)).log())


def companion_loss(
    similarity: Tensor, *, threshold: float, reduction: Literal["sum", "mean"] = "sum"
) -> Tensor:
    """CBS, co-occurring background suppression: -ln(1 - r) of every r above the threshold.

    Args:
        similarity: Cosine with each companion's text, (P, M).
        threshold: Gate, in cosine units.
        reduction: `mean` divides by P.

    Returns:
        A scalar; 0 if nothing passes the gate.

    Differs from the release: r is clamped below 1, where its loss is infinite.
    """
    pairs, _ = dims(similarity, "P M", name="similarity")
    passed = similarity[similarity > threshold]
    total = -torch.log1p(-passed.clamp(max=_MOST)).sum()
    return total / max(pairs, 1) if reduction == "mean" else total


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(len(values), 1)
