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

from baselines.refinement import BackgroundRule, Fixed, Power
from weakclip.crf.dense import CLIP_ES, CRFConfig, dense_crf
from weakclip.labels import IGNORE
from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.stages.protocols import Setting

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

    def build(self, setting: Setting) -> Fixed:
        """The refinement: marginals that sum to 1 over the known labels; it needs no fitting."""
        return Fixed(self.background, self._marginals)

    def labels(self, marginals: Tensor) -> Tensor:
        """Pseudo masks to train on, (B, H, W), int64, 255 where the CRF is not sure.

        Args:
            marginals: What the refinement scores, (B, 1 + F, H, W), background first.
        """
        return confident_labels(marginals, confidence=self.confidence)

    def _marginals(self, images: Tensor, scores: Tensor, known: Tensor) -> Tensor:
        if self.precision == "half":
            scores = scores.half().clamp(_CLIP, 1).log().float().exp()
        pixels = wrapped(images) if self.colours == "wrapped" else images
        return dense_crf(pixels, scores, self.crf, present=known, clip=_CLIP)


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
