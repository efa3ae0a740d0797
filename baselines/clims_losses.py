"""The four losses of CLIMS, in which a frozen CLIP judges images masked by class activation maps.

For every (image, tagged class) pair there are two masked images: the image times the map
(foreground), and the image times one minus the map (background). CLIP should recognise the class in
the foreground and not in the background, and no companion (co-occurring background, such as the
river of a boat) in the foreground.

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
    """Weight of OTM: the foreground shows the class."""
    background_weight: float = 24.0
    """Weight of BTM: the background does not."""
    companion_weight: float = 1.0
    """Weight of CBS: the foreground shows no companion."""
    area_weight: float = 0.2
    """Weight of REG: maps are small."""
    threshold: float = 0.26
    """Cosine above which a companion is suppressed; a hard gate without gradient."""
    companions: Literal["sum", "mean"] = "sum"
    """Reduction of CBS: the release's sum grows with the number of tags in a batch; `mean` divides
    it by the number of pairs."""

    def total(self, terms: CLIMSTerms) -> Tensor:
        """The weighted sum of four losses, a scalar."""
        return (
            self.object_weight * terms.object_match
            + self.background_weight * terms.background_match
            + self.companion_weight * terms.companions
            + self.area_weight * terms.area
        )


CLIMS_VOC = CLIMSLosses()
"""The release's weights for VOC."""

CLIMS_COCO = CLIMSLosses(
    object_weight=2.0, background_weight=14.0, companion_weight=1.25, threshold=0.285
)
"""The release's weights for COCO, from the command in its README."""


@dataclass(frozen=True, slots=True)
class CLIMSTerms:
    """The four losses of a batch, scalars, and the similarities from which they are computed."""

    object_match: Tensor
    background_match: Tensor
    companions: Tensor
    area: Tensor
    foreground_similarity: Tensor
    """Cosine of the foreground image and the class's text, (P,)."""
    background_similarity: Tensor
    """Cosine of the background image and the class's text, (P,)."""


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
        images: Images for CLIP, normalised, (B, 3, H, W).
        image_labels: Image-level tags, (B, F), bool.
        embed: CLIP's image encoder, from (2P, 3, S, S) to embeddings (2P, E) of any length.
        texts: Normalised embeddings of the F classes and of M companions.
        size: Side S of CLIP's input images.
        losses: Threshold and reduction of the companion loss.

    Returns:
        The losses; in a batch without tags all but the area are 0.

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
    """The foreground and background image of each pair, at CLIP's input size.

    Masked pixels are 0, which is the mean colour of a normalised image and not black.

    Args:
        cams: (B, F, h, w), in [0, 1].
        images: Normalised images, (B, 3, H, W).
        pairs: Image and class of each pair, (P, 2), int64.
        size: Side S of the result; resizing is bilinear with align_corners, without antialiasing.

    Returns:
        Foreground and background, (P, 3, S, S) each; their sum is the resized image.
    """
    dims(pairs, "P 2", name="pairs")
    square = (size, size)
    maps = cams[pairs[:, 0], pairs[:, 1]].unsqueeze(1)
    maps = F.interpolate(maps, square, mode="bilinear", align_corners=True)
    small = F.interpolate(images, square, mode="bilinear", align_corners=True)[pairs[:, 0]]
    return maps * small, (1 - maps) * small


def object_loss(similarity: Tensor) -> Tensor:
    """OTM, object text-image matching: mean of -ln s over the pairs; 0 without pairs.

    Args:
        similarity: Cosine s of the foreground and the class's text, (P,).

    Example:
        >>> round(float(object_loss(torch.tensor([0.25]))), 5)
        1.38629
    """
    return _mean(-similarity.clamp(_LEAST, _MOST).log())


def background_loss(similarity: Tensor) -> Tensor:
    """BTM, background text-image matching: mean of -ln(1 - s) over the pairs; 0 without pairs.

    Args:
        similarity: Cosine s of the background and the class's text, (P,).

    Example:
        >>> round(float(background_loss(torch.tensor([0.25]))), 5)
        0.28768
    """
    return _mean(-(1 - similarity.clamp(_LEAST, _MOST)).log())


def companion_loss(
    similarity: Tensor, *, threshold: float, reduction: Literal["sum", "mean"] = "sum"
) -> Tensor:
    """CBS, co-occurring background suppression: sum of -ln(1 - r) over every r above the threshold.

    Args:
        similarity: Cosine r of the foreground and each companion's text, (P, M).
        threshold: Threshold in cosine units.
        reduction: `mean` divides the sum by P.

    Returns:
        A scalar; 0 if no similarity is above the threshold.

    Differs from the release: r is clamped below 1, where the release's loss is infinite.
    """
    pairs, _ = dims(similarity, "P M", name="similarity")
    passed = similarity[similarity > threshold]
    total = -torch.log1p(-passed.clamp(max=_MOST)).sum()
    return total / max(pairs, 1) if reduction == "mean" else total


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(len(values), 1)
