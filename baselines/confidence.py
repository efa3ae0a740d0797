"""CLIP-ES's last step: dense CRF on the maps, and what it is not sure of stays undecided.

The paper's confidence-guided loss is a cross-entropy on sure pixels only, so a label map with 255
on all others *is* the loss. For scoring pseudo masks no pixel is left undecided.

References:
    Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023
    (`linyq2117/CLIP-ES`, `eval_cam_with_crf.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from baselines.refinement import (
    BackgroundRule,
    Power,
    check_refinement_input,
    known_labels,
    with_background,
)
from weakclip.labels import IGNORE
from weakclip.ops.crf import CLIP_ES, CRFConfig, dense_crf
from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from weakclip.masker import Setting, TaggedImages

RELEASED_BACKGROUND = Power(alpha=1)
_CLIP = 1e-5  # smallest probability of the unary
_SUBTRACTED = (122.675, 116.669, 104.008)  # RGB, from the deeplab code the release builds on


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidentCRF:
    """CLIP-ES's CRF; the defaults are the release's without its slips in number formats.

    The scores of a pixel need not sum to 1: a factor common to all labels changes no marginal.
    """

    background: BackgroundRule = RELEASED_BACKGROUND
    crf: CRFConfig = CLIP_ES
    colours: Literal["plain", "wrapped"] = "plain"
    """`wrapped`: the release hands the CRF an image minus a mean colour, cast to 8 bits, so that
    values below the mean wrap around; black and white become neighbours."""
    precision: Literal["single", "half"] = "single"
    """`half`: maps and -ln p in half precision, as in the release."""
    confidence: float = 0.95
    """Marginal below which a pixel stays undecided in `labels`."""

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence: expected a share in [0, 1], got {self.confidence}")

    def build(self, setting: Setting) -> ConfidentCRFRefinement:
        """The refinement; it needs no fitting."""
        return ConfidentCRFRefinement(self)


class ConfidentCRFRefinement:
    """The Refinement of `ConfidentCRF`; without weights."""

    def __init__(self, spec: ConfidentCRF) -> None:
        """Hold the values."""
        self.spec = spec

    def fit(
        self,
        data: TaggedImages,
        cams: Sequence[Tensor],
        *,
        seed: int,
        report: Callable[[int, int], None],
    ) -> None:
        """Learn nothing."""

    @torch.no_grad()
    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """Marginals of the CRF, (B, 1 + F, H, W), summing to 1; see `weakclip.masker.Refinement`.

        Raises:
            ValueError: If images, tags and maps are not of equally many images and classes.
        """
        check_refinement_input(images, image_labels, cams)
        known = known_labels(image_labels)
        size = (images.shape[2], images.shape[3])
        probs = with_background(cams, size, self.spec.background) * known[:, :, None, None]
        if self.spec.precision == "half":
            probs = probs.half().clamp(_CLIP, 1).log().float().exp()
        pixels = wrapped(images) if self.spec.colours == "wrapped" else images
        return dense_crf(pixels, probs, self.spec.crf, present=known, clip=_CLIP)

    def labels(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """Pseudo masks to train on, (B, H, W), int64, 255 where the CRF is not sure."""
        marginals = self.scores(images, image_labels, cams)
        return confident_labels(marginals, confidence=self.spec.confidence)

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """No parameters."""
        return {}


def confident_labels(marginals: Tensor, *, confidence: float = 0.95) -> Tensor:
    """The most likely label where it is likely enough.

    Args:
        marginals: (B, 1 + F, H, W), in [0, 1], background first.
        confidence: Least probability of a label.

    Returns:
        (B, H, W), int64: 0 background, c + 1 class c, 255 undecided.

    Example:
        >>> confident_labels(torch.tensor([[[[0.1, 0.04]], [[0.9, 0.96]]]]))
        tensor([[[255,   1]]])
    """
    dims(marginals, "B L H W", name="marginals")
    probability, labels = marginals.max(dim=1)
    return labels.masked_fill(probability < confidence, IGNORE)


def wrapped(images: Tensor) -> Tensor:
    """What the release's CRF sees of an image.

    Args:
        images: (B, 3, H, W), uint8, RGB.

    Returns:
        (B, 3, H, W), uint8: minus the mean colour, cut towards 0, modulo 256.

    Example:
        >>> wrapped(torch.tensor([0, 255]).byte().expand(1, 3, 1, 2))[0, 2].tolist()
        [[152, 150]]
    """
    mean = torch.tensor(_SUBTRACTED, device=images.device).view(1, 3, 1, 1)
    return (images.float() - mean).trunc().long().remainder(256).to(torch.uint8)
