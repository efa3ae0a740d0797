"""Refinements without training: none, a dense CRF, or pixel-adaptive averaging.

Class activation maps have no background, so every refinement first adds one by a rule. No rule
uses a pixel annotation, and no rule's parameter is tuned on one.

References:
    Krähenbühl and Koltun 2011 (dense CRF); Araslanov and Roth, CVPR 2020 (PAMR).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.crf.dense import WEAKCLIP_VOC, Bilateral, CRFConfig, Gaussian, dense_crf
from weakclip.ops.pamr import DILATIONS, pamr
from weakclip.ops.seed import otsu_band
from weakclip.ops.shapes import dims
from weakclip.stages.seeds import OtsuBand, SeedRule, seeds_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from weakclip.progress import Report
    from weakclip.stages.protocols import Setting, TaggedImages

# --- the background ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Background score (1 - strongest map)^alpha of each pixel, as in AffinityNet and IRN."""

    alpha: float = 4.0
    """Larger values give less background."""

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ValueError(f"alpha: expected a positive exponent, got {self.alpha}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Otsu:
    """One background score per image, from Otsu's threshold of its strongest map."""

    edge: Literal["weak", "middle", "strong"] = "middle"
    """`middle`: the threshold itself. `weak`: the mean of the values below it (less background).
    `strong`: the mean of the values above it (more background)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same background score for every pixel of every image."""

    value: float

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"background: expected a score in [0, 1], got {self.value}")


BackgroundRule: TypeAlias = Power | Otsu | Constant

OTSU = Otsu()
_BAND = OtsuBand()


@torch.no_grad()
def with_background(cams: Tensor, size: tuple[int, int], rule: BackgroundRule) -> Tensor:
    """Resize maps (B, F, h, w), in [0, 1], bilinearly and prepend a background score.

    Returns:
        (B, 1 + F, H, W), in [0, 1]; the scores of a pixel need not sum to 1. An image without
        evidence for any class is background: its arg-max is 0.

    Example:
        >>> with_background(torch.full((1, 2, 1, 1), 0.5), (1, 1), Power(alpha=2)).flatten()
        tensor([0.2500, 0.5000, 0.5000])
    """
    dims(cams, "B F h w", name="cams")
    resized = F.interpolate(cams, size, mode="bilinear", align_corners=False)
    strongest = resized.amax(dim=1, keepdim=True)
    match rule:
        case Power():
            background = (1 - strongest) ** rule.alpha
        case Otsu():
            weak, strong = otsu_band(cams, width=0 if rule.edge == "middle" else 1)
            threshold = strong if rule.edge == "strong" else weak
            background = threshold.view(-1, 1, 1, 1).expand_as(strongest)
        case Constant():
            background = torch.full_like(strongest, rule.value)
        case _:
            assert_never(rule)
    return torch.cat([background, resized], dim=1)


def known_labels(image_labels: Tensor) -> Tensor:
    """Labels an image may have, (B, 1 + F), bool: background and its tags (B, F)."""
    return F.pad(image_labels, (1, 0), value=True)


def on_known_labels(spread: Callable[[Tensor], Tensor], scores: Tensor, known: Tensor) -> Tensor:
    """Apply `spread` to the known labels of each image only; all other maps are 0.

    Images have few tags, so this saves most of the cost of a step that treats each map separately.
    Scores are (B, L, h, w), labels (B, L), bool; `spread` maps (B, L', h, w) to the same shape,
    where L' is the largest number of known labels of an image.
    """
    order = known.int().argsort(dim=1, descending=True, stable=True)
    order = order[:, : int(known.sum(dim=1).max())]
    rows = torch.arange(len(known), device=known.device).unsqueeze(1)
    result = torch.zeros_like(scores)
    result[rows, order] = spread(scores[rows, order])
    return result


# --- the refinements -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """No refinement: the maps with a background score."""

    background: BackgroundRule = OTSU

    def build(self, setting: Setting) -> Fixed:
        """The refinement; it needs no fitting."""
        return Fixed(self.background, lambda _images, scores, _known: scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedLabels:
    """No refinement: the seeds of the maps as scores; undecided pixels score 0 everywhere."""

    rule: SeedRule = _BAND

    def build(self, setting: Setting) -> LabelledSeeds:
        """The refinement; it needs no fitting."""
        return LabelledSeeds(self.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class CRF:
    """A dense CRF, initialised with the maps and a background score."""

    background: BackgroundRule = OTSU
    crf: CRFConfig = WEAKCLIP_VOC

    def build(self, setting: Setting) -> Fixed:
        """The refinement; it needs no fitting."""
        return Fixed(
            self.background,
            lambda images, scores, known: dense_crf(images, scores, self.crf, present=known),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PAMR:
    """Pixel-adaptive refinement (PAMR) of the maps and a background score, at image size."""

    background: BackgroundRule = OTSU
    iterations: int = 10
    dilations: tuple[int, ...] = DILATIONS

    def build(self, setting: Setting) -> Fixed:
        """The refinement; it needs no fitting."""

        def refine(images: Tensor, scores: Tensor, known: Tensor) -> Tensor:
            spread = partial(pamr, images, iterations=self.iterations, dilations=self.dilations)
            return on_known_labels(spread, scores, known)

        return Fixed(self.background, refine)


MICRO_CRF = CRF(
    crf=CRFConfig(terms=(Gaussian(sxy=1, weight=3), Bilateral(sxy=21, srgb=5, weight=3)))
)
"""WeakCLIP's parameters for VOC, with distances scaled from 500 to 128 pixels."""

MICRO_PAMR = PAMR(dilations=(1, 2, 3, 6))
"""The release's dilations scaled from 500 to 128 pixels, without duplicates."""


class Weightless:
    """Base of refinements without weights."""

    def fit(self, data: TaggedImages, cams: Sequence[Tensor], *, seed: int, report: Report) -> None:
        """Learn nothing."""

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Empty: there are no parameters."""
        return {}


class Fixed(Weightless):
    """A refinement made of a background rule and a function of images and scores."""

    def __init__(
        self, background: BackgroundRule, refine: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> None:
        """Store the rule and `refine(images, scores, known labels) -> scores`."""
        self.background, self.refine = background, refine

    @torch.no_grad()
    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """See `weakclip.stages.protocols.Refinement`."""
        check_refinement_input(images, image_labels, cams)
        known = known_labels(image_labels)
        scores = with_background(cams, (images.shape[2], images.shape[3]), self.background)
        scores = scores * known[:, :, None, None]
        return self.refine(images, scores, known).float()


class LabelledSeeds(Weightless):
    """The refinement of `SeedLabels`."""

    def __init__(self, rule: SeedRule) -> None:
        self.rule = rule

    @torch.no_grad()
    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """1 for the label of a seed, 0 for all other labels and at undecided pixels."""
        check_refinement_input(images, image_labels, cams)
        seeds = seeds_from(cams, (images.shape[2], images.shape[3]), self.rule)
        labels = torch.arange(1 + cams.shape[1], device=cams.device).view(1, -1, 1, 1)
        return (seeds[:, None] == labels).float()


def check_refinement_input(images: Tensor, image_labels: Tensor, cams: Tensor) -> None:
    """Raise a ValueError unless images, tags and maps are of the same images and classes."""
    batch, _, _, _ = dims(images, "B 3 H W", name="images")
    tagged, classes = dims(image_labels, "B F", name="image_labels")
    maps, mapped, _, _ = dims(cams, "B F h w", name="cams")
    if not batch == tagged == maps or classes != mapped:
        raise ValueError(
            f"refinement: expected images, tags and maps of the same images and classes, got "
            f"{batch} images, tags {tuple(image_labels.shape)} and maps {tuple(cams.shape)}"
        )
