"""A plan for masks: one value with every setting that affects them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from weakclip.clip.tower import default_taps
from weakclip.config import MICRO, PAPER
from weakclip.crf.dense import CLIP_ES, WEAKCLIP_VOC, Bilateral, CRFConfig, Gaussian
from weakclip.stages.maps import CLIPMaps
from weakclip.stages.method import Method
from weakclip.stages.network import SeededTraining
from weakclip.stages.refine import Keep, Power
from weakclip.stages.seeds import Affinity, CAMSource, PatchSoftmax, SoftmaxGradCAM
from weakclip.stages.words import MICRO_BACKGROUND, Words
from weakclip.training.recipe import Recipe
from weakclip.training.views import Framing

if TYPE_CHECKING:
    from weakclip.clip.bundle import CLIPBundle

MethodName = Literal["clip-es", "weakclip"]
PAPER_PASSES = 30
"""Passes over VOC's 10,582 images in the paper's 20,000 steps of 16 views."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPlan:
    """How masks are made. `plan_for` returns one that suits a CLIP; change it with `replace`."""

    method: Method
    words: Words
    max_side: int = 512
    """Larger images are processed at this longest side; masks have the size of the file."""
    untagged: Literal["skip", "background"] = "skip"
    """Images without tags get no mask (`skip`) or a mask of background."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_side < 32:
            raise ValueError(f"max_side: expected 32 pixels or more, got {self.max_side}")
        if not 0 <= self.seed < 1 << 63:  # valid for both torch and numpy
            raise ValueError(f"seed: expected 0 to 2**63 - 1, got {self.seed}")


MICRO_CRF = CRFConfig(
    terms=(Gaussian(sxy=1, weight=3), Bilateral(sxy=21, srgb=5, weight=3)), iterations=5
)
"""WeakCLIP's CRF for VOC, distances scaled from 500 to 128 pixels, with half the iterations."""

MICRO_RECIPE = Recipe(
    iterations=340, batch_size=8, learning_rate=6e-3, weight_decay=1e-2, warmup=20,
    warmup_ratio=1e-3, final_learning_rate=1e-5, log_every=40,
)  # fmt: skip
"""The benchmark's recipe on CartoonVOC."""


CLIP_ES_MAPS = SoftmaxGradCAM(layer="ln_1", pooling="patches", stretch="twice", affinity=Affinity())
"""CLIP-ES's maps with attention affinity, for a CLIP with a class token."""

CLIP_ES_WORDS = Words(template="a clean origami {}.")
"""CLIP-ES's template."""


def _free(source: CAMSource, crf: CRFConfig) -> Method:
    """Maps of the frozen CLIP; the background score is 1 - (strongest map), as in CLIP-ES."""
    background = Power(alpha=1)
    return Method(maps=CLIPMaps(source=source), refinement=Keep(background=background), crf=crf)


PHOTOGRAPHS = MaskPlan(method=_free(CLIP_ES_MAPS, CLIP_ES), words=CLIP_ES_WORDS)
"""CLIP-ES's settings for photographs that do not depend on the CLIP: size, CRF, background."""


def plan_for(clip: CLIPBundle, method: MethodName = "clip-es", *, images: int = 10_582) -> MaskPlan:
    """A plan that suits a CLIP.

    Args:
        clip: Micro-CLIP gets the benchmark's settings for CartoonVOC, any other CLIP the papers'.
        method: `clip-es` trains nothing; `weakclip` trains on the seeds of all images.
        images: Number of training images; the number of steps grows with it.

    Raises:
        ValueError: If the method is unknown.
    """
    if method not in ("clip-es", "weakclip"):
        raise ValueError(f"unknown method {method!r}; known: clip-es, weakclip")
    micro = clip.name.endswith("micro-clip")
    return _micro(method) if micro else _papers(clip, method, images)


def passes_recipe(images: int) -> Recipe:
    """The paper's recipe with steps for 30 passes over the images, 200 to the paper's 20,000.

    Example:
        >>> passes_recipe(1000).iterations, passes_recipe(10_582).iterations
        (1875, 19841)
    """
    recipe = Recipe()
    steps = min(max(round(PAPER_PASSES * images / recipe.batch_size), 200), recipe.iterations)
    return replace(
        recipe, iterations=steps, warmup=round(steps * recipe.warmup / recipe.iterations)
    )


def _micro(method: MethodName) -> MaskPlan:
    words = Words(background=MICRO_BACKGROUND)
    if method == "clip-es":
        chosen = _free(SoftmaxGradCAM(affinity=Affinity()), MICRO_CRF)
    else:
        training = SeededTraining(
            config=MICRO,
            recipe=MICRO_RECIPE,
            framing=Framing(size=128, ratio=(0.75, 1.5)),
            scales=(1.0,),
            tile=128,
        )
        chosen = Method(maps=CLIPMaps(source=PatchSoftmax()), refinement=training, crf=MICRO_CRF)
    return MaskPlan(method=chosen, words=words, max_side=128)


def _papers(clip: CLIPBundle, method: MethodName, images: int) -> MaskPlan:
    if method == "clip-es":
        return PHOTOGRAPHS
    side = 512 // clip.patch_size * clip.patch_size  # the paper's 512, in whole patches
    training = SeededTraining(
        config=replace(PAPER, taps=default_taps(clip.image.depth)),
        recipe=passes_recipe(images),
        framing=Framing(size=side),
        tile=side,
    )
    chosen = Method(maps=CLIPMaps(source=CLIP_ES_MAPS), refinement=training, crf=WEAKCLIP_VOC)
    return MaskPlan(method=chosen, words=CLIP_ES_WORDS)
