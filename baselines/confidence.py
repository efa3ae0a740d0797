"""CLIP-ES's last step: dense CRF on the maps, with undecided pixels where it is not confident.

The paper's confidence-guided loss is a cross-entropy on confident pixels only. Cross-entropy on a
label map with 255 at all other pixels is the same loss. Scored pseudo masks have no undecided
pixels.

References:
    Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023
    (`linyq2117/CLIP-ES`, `eval_cam_with_crf.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from weakclip.crf.dense import CLIP_ES, CRFConfig, dense_crf
from weakclip.labels import IGNORE
from weakclip.ops.shapes import dims
from weakclip.stages.refine import BackgroundRule, Fixed, Power

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.stages.protocols import Setting

RELEASED_BACKGROUND = Power(alpha=1)
_CLIP = 1e-5  # smallest probability of the unary
_SUBTRACTED = (122.675, 116.669, 104.008)  # RGB, from the DeepLab code used by the release


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidentCRF:
    """CLIP-ES's CRF; the defaults are the release's without its errors in number formats.

    The scores of a pixel need not sum to 1: a factor common to all labels changes no marginal.
    """

    background: BackgroundRule = RELEASED_BACKGROUND
    crf: CRFConfig = CLIP_ES
    colours: Literal["plain", "wrapped"] = "plain"
    """`wrapped`: as in the release, the CRF gets the image minus a mean colour, cast to 8 bits, so
    that values below the mean wrap around and black is similar to white."""
    precision: Literal["single", "half"] = "single"
    """`half`: maps and -ln p in half precision, as in the release."""
    confidence: float = 0.95
    """Pixels whose largest marginal is below this are undecided in `labels`."""

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence: expected a share in [0, 1], got {self.confidence}")

    def build(self, setting: Setting) -> Fixed:
        """The refinement, whose scores sum to 1 over the known labels; it needs no fitting."""
        return Fixed(self.background, self._marginals)

    def labels(self, marginals: Tensor) -> Tensor:
        """Pseudo masks for training, (B, H, W), int64, 255 where the CRF is not confident.

        Args:
            marginals: Scores of the refinement, (B, 1 + F, H, W), background first.
        """
        return confident_labels(marginals, confidence=self.confidence)

    def _marginals(self, images: Tensor, scores: Tensor, known: Tensor) -> Tensor:
        if self.precision == "half":
            scores = scores.half().clamp(_CLIP, 1).log().float().exp()
        pixels = wrapped(images) if self.colours == "wrapped" else images
        return dense_crf(pixels, scores, self.crf, present=known, clip=_CLIP)


def confident_labels(marginals: Tensor, *, confidence: float = 0.95) -> Tensor:
    """The most likely label where its probability is at least `confidence`.

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
    """An image as the release passes it to the CRF.

    Args:
        images: (B, 3, H, W), uint8, RGB.

    Returns:
        (B, 3, H, W), uint8: minus the mean colour, truncated towards 0, modulo 256.

    Example:
        >>> wrapped(torch.tensor([0, 255]).byte().expand(1, 3, 1, 2))[0, 2].tolist()
        [[152, 150]]
    """
    mean = torch.tensor(_SUBTRACTED, device=images.device).view(1, 3, 1, 1)
    return (images.float() - mean).trunc().long().remainder(256).to(torch.uint8)
