"""Presets: a data set, a CLIP and a protocol. Everything that moves a number is here.

The figures of `CARTOON` were chosen on a world with another seed (77), which no table reports;
`docs/log.md` says what was tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bench.cartoon.world import WorldConfig
from bench.errors import unknown
from bench.studies.transfer import study_at
from weakclip.config import PAPER, WeakCLIPConfig
from weakclip.crf.dense import WEAKCLIP_COCO, WEAKCLIP_VOC
from weakclip.stages.inference import SCALES
from weakclip.stages.plan import (
    CLIP_ES_MAPS,
    CLIP_ES_WORDS,
    MICRO_CRF,
    MICRO_RECIPE,
    PAPER_PASSES,
)
from weakclip.stages.seeds import CAMSource, OtsuBand, PatchSoftmax, SeedRule
from weakclip.training.recipe import Recipe
from weakclip.training.views import Framing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.studies.study import Study
    from weakclip.crf.dense import CRFConfig
    from weakclip.stages.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A data set, a CLIP and a training protocol."""

    name: str
    clip: str
    splits: Mapping[str, int]
    """Split name to number of images of the generated world."""
    recipe: Recipe
    source: CAMSource = PatchSoftmax()
    rule: SeedRule = OtsuBand()
    template: str = "a photo of a {}."
    views: int = 4
    """Fixed views per training image: itself, its mirror image, and random framings."""
    framing: Framing = Framing(size=128, ratio=(0.75, 1.5))
    crf: CRFConfig = MICRO_CRF
    """For pseudo masks at image size."""
    world: WorldConfig = WorldConfig(size=128)
    world_seed: int = 2012


CARTOON = Preset(
    name="cartoon",
    clip="micro",
    splits={"train": 600, "val": 600, "tune": 200},
    recipe=MICRO_RECIPE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoPreset:
    """A data set of photographs, a CLIP of photographs and the paper's protocol.

    The seeds are CLIP-ES's maps of the frozen CLIP where the paper has MCTformer's.
    """

    name: str
    data: Literal["voc", "coco"]
    splits: Mapping[str, str]
    """Roles to names of lists: `train` is trained on, the masks of `pseudo` are scored, and the
    network on `val`."""
    recipe: Recipe
    crf: CRFConfig
    """For pseudo masks at working size."""
    clip: str = "ViT-B-16/openai"
    config: WeakCLIPConfig = PAPER
    """The reference of every study; see `bench.studies.transfer`."""
    source: CAMSource = CLIP_ES_MAPS
    rule: SeedRule = OtsuBand()
    words: Words = CLIP_ES_WORDS
    framing: Framing = Framing()
    views: int = PAPER_PASSES
    """Per training image: as many as it is seen, so that hardly a view comes twice."""
    scales: tuple[float, ...] = SCALES
    max_side: int = 512
    """Larger images are worked on at this size; masks are scored at the size of the file."""


VOC = PhotoPreset(
    name="voc",
    data="voc",
    splits={"train": "trainaug", "pseudo": "train", "val": "val"},
    recipe=Recipe(),
    crf=WEAKCLIP_VOC,
)
COCO = PhotoPreset(
    name="coco",
    data="coco",
    splits={"train": "train2014", "pseudo": "train2014", "val": "val2014"},
    recipe=Recipe(iterations=40_000, batch_size=24),
    crf=WEAKCLIP_COCO,
)
SMOKE = replace(
    CARTOON,
    name="smoke",
    clip="random-micro",
    splits={"train": 8, "val": 8, "tune": 4},
    recipe=replace(CARTOON.recipe, iterations=4, batch_size=4, warmup=1, log_every=2),
)
_PRESETS: dict[str, Preset | PhotoPreset] = {
    preset.name: preset for preset in (CARTOON, SMOKE, VOC, COCO)
}
PRESETS = tuple(sorted(_PRESETS))


def load_preset(name: str) -> Preset | PhotoPreset:
    """Return a preset.

    Raises:
        BenchError: If there is none of that name.
    """
    if name not in _PRESETS:
        raise unknown("preset", name, PRESETS)
    return _PRESETS[name]


def study_for(study: Study, preset: str) -> Study:
    """The study at the size of a preset's network; as it is for one that nobody knows.

    Raises:
        BenchError: If the study has rows without a counterpart of that size.
    """
    chosen = _PRESETS.get(preset)
    return study_at(study, chosen.config) if isinstance(chosen, PhotoPreset) else study
