"""Presets: a data set, a CLIP and a protocol. Everything that moves a number is here.

The figures of `CARTOON` were chosen on a world with another seed (77), which no table reports;
`docs/log.md` says what was tried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.cartoon.vocabulary import BACKGROUND_WORDS
from bench.cartoon.wide.world import WideConfig
from bench.cartoon.world import WorldConfig
from bench.choices import PRESETS
from bench.errors import BenchError, unknown
from bench.oracle.spoiled import SpoiledAnnotation
from bench.selection.training import SelectedTraining
from bench.studies.method import GroundTruth, MethodRow, OfPreset, Outside, Selection, Spoiled
from bench.studies.study import SET, load_name
from bench.studies.transfer import study_at
from weakclip.config import MICRO, PAPER, WeakCLIPConfig
from weakclip.crf.dense import WEAKCLIP_COCO, WEAKCLIP_VOC, CRFConfig
from weakclip.data.artifacts import content_key
from weakclip.data.formats.from_files import FromFiles
from weakclip.masking.plan import (
    CLIP_ES_MAPS,
    CLIP_ES_WORDS,
    MICRO_CRF,
    MICRO_RECIPE,
    PAPER_PASSES,
    passes_recipe,
)
from weakclip.retraining.recipe import Crops
from weakclip.stages import retrain_presets
from weakclip.stages.inference import SCALES
from weakclip.stages.maps import CLIPMaps
from weakclip.stages.method import Method
from weakclip.stages.network import SeededTraining
from weakclip.stages.seeds import CAMSource, OtsuBand, PatchSoftmax, SeedRule
from weakclip.stages.words import Words
from weakclip.training.recipe import Recipe
from weakclip.training.views import Framing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.studies.study import Study, Variant
    from bench.studies.workbench import Config
    from weakclip.stages.maps import MapSource
    from weakclip.stages.retrain import Retraining


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """CartoonVOC: how it is drawn, and how many images each split has."""

    images: Mapping[str, int]
    world: WorldConfig = WorldConfig(size=128)
    seed: int = 2012
    redrawn: bool = False
    """Whether each seed of a run draws its own training images; the others stay."""

    def of_seed(self, seed: int) -> Generated:
        """The world whose training images are those of a seed; of seed 0 it is this one."""
        return replace(self, seed=self.seed + _APART * seed, redrawn=False)


_APART = 1_000_000  # between the worlds of two seeds: no pretraining has such a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A data set, a CLIP and a protocol."""

    name: str
    data: Literal["cartoon", "voc", "coco", "folder"]
    splits: Mapping[str, str]
    """Roles to names of lists: `train` is trained on, the masks of `pseudo`, some of its images,
    are scored, and what labels images without tags on `val`. `tune` is for searches."""
    recipe: Recipe
    crf: CRFConfig
    """For pseudo masks at working size."""
    clip: str
    config: WeakCLIPConfig
    """WeakCLIP at the size of the CLIP: the reference of studies of its parts."""
    size: Literal["micro", "paper"]
    """Which of the two values a part has that depends on the size of CLIP and images."""
    source: CAMSource
    """Maps of the frozen CLIP, for rows that name no other."""
    words: Words
    retraining: Retraining
    """What is trained on the masks of rows that ask for it."""
    maps: str = ""
    """Folder, below that of the data set, of maps that others made: WeakCLIP's seeds are made from
    them and not from `source`'s."""
    rule: SeedRule = OtsuBand()
    framing: Framing = Framing()
    views: int = 4
    """Fixed views per training image: itself, its mirror image, and random framings."""
    scales: tuple[float, ...] = SCALES
    flip: bool = True
    max_side: int = 512
    """Larger images are worked on at this size; masks are scored at the size of the file."""
    generated: Generated | None = None
    """Of a data set that is drawn where there is no folder of it."""
    clip_stage: str = ""
    """Folder, below that of `--clip-stages`, of the files of another micro-CLIP."""
    registered: str = ""
    """Commit of the page that said beforehand what is predicted and tested."""
    scoring: Literal["full", "components"] = "full"
    """`components`: no dense CRF after training and no diagnosis, but the score map by itself."""

    @property
    def own_maps(self) -> MapSource:
        """Maps of the frozen CLIP, or those that others made in their place."""
        return FromFiles(folder=Path(self.maps)) if self.maps else CLIPMaps(source=self.source)

    def method(self, config: Config) -> Method:
        """The method of a row: WeakCLIP on the preset's maps, or what the row says.

        Raises:
            ValueError: If the row has no method, but the ground truth.
        """
        match config:
            case WeakCLIPConfig():
                return Method(maps=self.own_maps, refinement=self.training(config), crf=self.crf)
            case MethodRow():
                refinement = config.refinement
                if isinstance(config.cam, GroundTruth) or isinstance(refinement, GroundTruth):
                    raise ValueError("row: expected a method, got the ground truth")
                if isinstance(refinement, WeakCLIPConfig):
                    refinement = self.training(refinement)
                elif isinstance(refinement, Selection):
                    training = self.training(refinement.config)
                    refinement = SelectedTraining(
                        training=training, rule=refinement.rule, crf=self.crf
                    )
                elif isinstance(refinement, Spoiled):
                    refinement = SpoiledAnnotation(
                        training=self.training(refinement.config),
                        precision=refinement.precision,
                        coverage=refinement.coverage,
                    )
                maps = config.cam
                if isinstance(maps, Outside):
                    maps = maps.maps
                elif isinstance(maps, OfPreset):
                    maps = self.own_maps
                return Method(
                    maps=maps,
                    refinement=refinement,
                    crf=self.crf if config.finish == "crf" else None,
                    retraining=self.retrained_by(config),
                )

    def retrained_by(self, row: MethodRow) -> Retraining | None:
        """What a row's masks are retrained with."""
        return self.retraining if isinstance(row.retraining, OfPreset) else row.retraining

    def training(self, config: WeakCLIPConfig) -> SeededTraining:
        """WeakCLIP trained by this preset's recipe."""
        return SeededTraining(
            config=config,
            recipe=self.recipe,
            rule=self.rule,
            framing=self.framing,
            views=self.views,
            view_seed=0 if self.generated is None else self.generated.seed,
            scales=self.scales,
            flip=self.flip,
            tile=self.framing.size,
        )


CARTOON = Preset(
    name="cartoon",
    data="cartoon",
    splits={"train": "train", "pseudo": "train", "val": "val", "tune": "tune"},
    recipe=MICRO_RECIPE,
    crf=MICRO_CRF,
    clip="micro",
    config=MICRO,
    size="micro",
    source=PatchSoftmax(),
    words=Words(background=BACKGROUND_WORDS),
    retraining=retrain_presets.MICRO,
    framing=Framing(size=128, ratio=(0.75, 1.5)),
    scales=(1.0,),
    flip=False,
    max_side=128,
    generated=Generated(images={"train": 600, "val": 600, "tune": 200}),
)
VOC = Preset(
    name="voc",
    data="voc",
    splits={"train": "trainaug", "pseudo": "train", "val": "val"},
    recipe=Recipe(),
    crf=WEAKCLIP_VOC,
    clip="ViT-B-16/openai",
    config=PAPER,
    size="paper",
    source=CLIP_ES_MAPS,
    words=CLIP_ES_WORDS,
    retraining=retrain_presets.DEEPLAB_V3PLUS,
    views=PAPER_PASSES,
)
COCO = replace(
    VOC,
    name="coco",
    data="coco",
    splits={"train": "train2014", "pseudo": "train2014", "val": "val2014"},
    recipe=Recipe(iterations=40_000, batch_size=24),
    crf=WEAKCLIP_COCO,
    retraining=retrain_presets.DEEPLAB_V3PLUS_COCO,
)
FOLDER = replace(
    VOC,
    name="folder",
    data="folder",
    splits={"train": "tagged", "pseudo": "tagged with a mask", "val": "val"},
    recipe=passes_recipe(1000),
)
"""Somebody's own images (`bench/tasks/own.py`): a tenth of the steps, for a tenth of the images."""
SMOKE = replace(
    CARTOON,
    name="smoke",
    clip="random-micro",
    recipe=replace(CARTOON.recipe, iterations=4, batch_size=4, warmup=1, log_every=2),
    retraining=replace(
        CARTOON.retraining,
        recipe=replace(CARTOON.retraining.recipe, iterations=4, batch_size=4, crops=Crops(size=64)),
    ),
    generated=Generated(images={"train": 8, "val": 8, "tune": 4}),
)
WIDE = replace(
    CARTOON,
    name="wide",
    generated=Generated(images={"train": 600, "val": 1500, "tune": 400}, world=WideConfig()),
)
"""CartoonVOC 2. Its CLIP is not shipped yet: `--weights` names the folder of a pretraining."""
assert WIDE.generated is not None
CONDITIONS = replace(
    WIDE,
    name="conditions",
    scoring="components",
    generated=replace(WIDE.generated, redrawn=True),
    registered="f9f85012bed76be5a1db23a12cd8970648fca0c4",
)
"""The centre of the dials of study `conditions`."""
_PRESETS: dict[str, Preset] = {
    each.name: each for each in (CARTOON, WIDE, CONDITIONS, SMOKE, VOC, COCO, FOLDER)
}


def load_preset(name: str) -> Preset:
    """Return a preset, changed as its name says: `voc+recipe.iterations=500+max_side=384`.

    Raises:
        BenchError: If there is none of that name, it has no such value, or the value is not one.
    """
    base, *changes = name.split("+")
    if base not in _PRESETS:
        raise unknown("preset", base, PRESETS)
    preset = _PRESETS[base]
    for change in changes:
        preset = overridden(preset, change)
    return replace(preset, name=name)


def overridden(preset: Preset, change: str) -> Preset:
    """A preset with another value in one place.

    Args:
        preset: The preset.
        change: Path and value, e.g. `recipe.iterations=500`, `scales=[1.0]`, `splits.val=train`.

    Raises:
        BenchError: If there is no such place, or the value is not of its kind.

    Example:
        >>> overridden(VOC, "recipe.iterations=500").recipe.iterations
        500
    """
    path, equals, text = change.partition("=")
    if not equals:
        raise BenchError(f"--set {change}: expected PATH=VALUE, e.g. recipe.iterations=500")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    try:
        found: Preset = _replaced(preset, path.split("."), value, path)
    except (TypeError, ValueError) as error:
        raise BenchError(f"--set {change}: {error}") from error
    return found


def _replaced(holder: Any, path: Sequence[str], value: object, whole: str) -> Any:  # noqa: ANN401
    """`holder` with another value at a path of fields and keys."""
    name, *rest = path
    names = list(holder) if isinstance(holder, Mapping) else [each.name for each in fields(holder)]
    if name not in names or name == "name":
        raise unknown("setting", whole, [each for each in names if each != "name"])
    old = holder[name] if isinstance(holder, Mapping) else getattr(holder, name)
    if rest:
        if not isinstance(old, Mapping) and not is_dataclass(old):
            raise ValueError(f"{name} has no parts, so there is no {whole}")
        new = _replaced(old, rest, value, whole)
    else:
        new = tuple(value) if isinstance(value, list) else value
        new = float(new) if isinstance(old, float) and isinstance(new, int) else new
        if isinstance(new, dict):
            new = {
                key: tuple(each) if isinstance(each, list) else each for key, each in new.items()
            }
        if type(new) is not type(old):
            raise ValueError(f"expected {type(old).__name__} as {old!r}, got {new!r}")
    return {**holder, name: new} if isinstance(holder, Mapping) else replace(holder, **{name: new})


def study_name(study: str, preset: str) -> str:
    """What a study is called with a preset: a changed preset makes a study of its own.

    Example:
        >>> study_name("components", "voc"), study_name("components", "voc+flip=false")
        ('components', 'components-set-89e120c2')
    """
    _, plus, changes = preset.partition("+")
    return f"{study}{SET}{content_key(changes)[:8]}" if plus else study


def study_for(study: Study, preset: str) -> Study:
    """The study at the size of a preset's network; as it is for one that nobody knows.

    Raises:
        BenchError: If the study has rows without a counterpart of that size.
    """
    if preset.partition("+")[0] not in _PRESETS:
        return study
    chosen = load_preset(preset)
    sized = study if chosen.size == "micro" else study_at(study, chosen.config)
    return replace(
        sized,
        name=study_name(load_name(study.name), preset),
        reference=_retrained(sized.reference, chosen),
        variants=tuple(_retrained(row, chosen) for row in sized.variants),
    )


def _retrained(row: Variant, preset: Preset) -> Variant:
    """A row with the preset's own retraining, so that a record says what it was."""
    config = row.config
    if not isinstance(config, MethodRow) or not isinstance(config.retraining, OfPreset):
        return row
    return replace(row, config=replace(config, retraining=preset.retraining))
