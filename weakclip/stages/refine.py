"""Refinements that learn nothing: none at all, a dense CRF, pixel-adaptive averaging.

They share their first step with every other refinement: class activation maps have no background,
so one is added by a rule. No rule looks at a pixel annotation, and none is swept on one.

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

    from weakclip.stages.protocols import Setting, TaggedImages

# --- the background ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Background score (1 - strongest map)^alpha of each pixel, as in AffinityNet and IRN."""

    alpha: float = 4.0
    """Large values leave more to the classes."""

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ValueError(f"alpha: expected a positive exponent, got {self.alpha}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Otsu:
    """One background score per image, from Otsu's threshold of its strongest map."""

    edge: Literal["weak", "middle", "strong"] = "middle"
    """The threshold, or the mean of the values below it (`weak`: little is background) or above
    it (`strong`: much is)."""


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
    """Class activation maps at image size, with a background in front.

    Args:
        cams: (B, F, h, w), in [0, 1]; 0 for classes that are not tagged.
        size: Height and width of the result; maps are resized bilinearly (align_corners false).
        rule: How the background scores.

    Returns:
        (B, 1 + F, H, W), in [0, 1]; the labels of a pixel do not sum to 1. An image without
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
    """Labels an image may have, (B, 1 + F), bool: the background and its tags (B, F)."""
    return F.pad(image_labels, (1, 0), value=True)


def on_known_labels(spread: Callable[[Tensor], Tensor], scores: Tensor, known: Tensor) -> Tensor:
    """Treat only as many maps of each image as the image with most labels has; others are 0.

    Images have few tags, so this saves most of the work of a step that works on every map.

    Args:
        spread: Scores (B, L', h, w) to scores of the same shape, each map by itself.
        scores: (B, L, h, w), 0 for unknown labels.
        known: (B, L), bool.

    Returns:
        (B, L, h, w).
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
    """No refinement: the maps and a background."""

    background: BackgroundRule = OTSU

    def build(self, setting: Setting) -> Fixed:
        """The refinement; it needs no fitting."""
        return Fixed(self.background, lambda _images, scores, _known: scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedLabels:
    """No refinement: the seeds of the maps, with no score where they are undecided."""

    rule: SeedRule = _BAND

    def build(self, setting: Setting) -> LabelledSeeds:
        """The refinement; it needs no fitting."""
        return LabelledSeeds(self.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class CRF:
    """The dense CRF, started from the maps and a background."""

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
    """Pixel-adaptive averaging of the maps and a background, at image size."""

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
"""WeakCLIP's parameters for VOC, the distances scaled from 500 to 128 pixels."""

MICRO_PAMR = PAMR(dilations=(1, 2, 3, 6))
"""The release's dilations scaled from 500 to 128 pixels, equal ones left out."""


class Weightless:
    """What refinements without weights have in common."""

    def fit(
        self,
        data: TaggedImages,
        cams: Sequence[Tensor],
        *,
        seed: int,
        report: Callable[[int, int], None],
    ) -> None:
        """Nothing to learn."""

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """No parameters."""
        return {}


class Fixed(Weightless):
    """A background rule, and a function of images and scores."""

    def __init__(
        self, background: BackgroundRule, refine: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> None:
        """Hold the rule and `refine(images, scores, known labels) -> scores`."""
        self.background, self.refine = background, refine

    @torch.no_grad()
    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """See `weakclip.stages.protocols.Refinement`.

        Raises:
            ValueError: If images, tags and maps are not of equally many images and classes.
        """
        check_refinement_input(images, image_labels, cams)
        known = known_labels(image_labels)
        scores = with_background(cams, (images.shape[2], images.shape[3]), self.background)
        scores = scores * known[:, :, None, None]
        return self.refine(images, scores, known).float()


class LabelledSeeds(Weightless):
    """The refinement of `SeedLabels`."""

    def __init__(self, rule: SeedRule) -> None:
        """Hold the rule."""
        self.rule = rule

    @torch.no_grad()
    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """1 for the label of a seed, 0 for all others and where there is no seed.

        Raises:
            ValueError: If images, tags and maps are not of equally many images and classes.
        """
        check_refinement_input(images, image_labels, cams)
        seeds = seeds_from(cams, (images.shape[2], images.shape[3]), self.rule)
        labels = torch.arange(1 + cams.shape[1], device=cams.device).view(1, -1, 1, 1)
        return (seeds[:, None] == labels).float()


def check_refinement_input(images: Tensor, image_labels: Tensor, cams: Tensor) -> None:
    """Raise unless images, tags and maps belong together.

    Raises:
        ValueError: If they are not of equally many images and classes.
    """
    batch, _, _, _ = dims(images, "B 3 H W", name="images")
    tagged, classes = dims(image_labels, "B F", name="image_labels")
    maps, mapped, _, _ = dims(cams, "B F h w", name="cams")
    if not batch == tagged == maps or classes != mapped:
        raise ValueError(
            f"refinement: expected images, tags and maps of the same images and classes, got "
            f"{batch} images, tags {tuple(image_labels.shape)} and maps {tuple(cams.shape)}"
        )
