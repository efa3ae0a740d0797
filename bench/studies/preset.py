"""Presets: a data set, a CLIP and a protocol. All settings that change results are here.

The settings of `CARTOON` were chosen on images drawn with another seed (77), on which no table
reports; `docs/log.md` lists what was tried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.cartoon.vocabulary import BACKGROUND_WORDS
from bench.cartoon.world import WorldConfig
from bench.cartoon.write import DEFAULT_SPLITS
from bench.choices import PRESETS
from bench.errors import BenchError, unknown
from bench.oracle.spoiled import SpoiledAnnotation
from bench.selection.training import SelectedTraining
from bench.studies.method import GroundTruth, MethodRow, OfPreset, Outside, Selection, Spoiled
from bench.studies.names import SET, load_name
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
from weakclip.training.descent import WarmDescent
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
    """How CartoonVOC is drawn, and the number of images of each split."""

    images: Mapping[str, int]
    world: WorldConfig = WorldConfig()
    seed: int = 2012
    redrawn: bool = False
    """Whether each training seed draws its own training images; other splits are the same."""

    def of_seed(self, seed: int) -> Generated:
        """The drawing whose `train` split is used with a training seed; seed 0 keeps this one."""
        return replace(self, seed=self.seed + _APART * seed, redrawn=False)


_APART = 1_000_000  # distance of the drawing seeds; no pretraining uses seeds this large


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A data set, a CLIP and a protocol."""

    name: str
    data: Literal["cartoon", "voc", "coco", "folder"]
    splits: Mapping[str, str]
    """Role -> name of an image list. Methods are trained on `train`; pseudo masks are scored on
    `pseudo`, a subset of it, and networks on `val`. `tune` is for hyper-parameter searches."""
    recipe: Recipe
    crf: CRFConfig
    """Dense CRF for pseudo masks at working size."""
    clip: str
    config: WeakCLIPConfig
    """WeakCLIP with the dimensions of this CLIP: the reference of studies of its components."""
    size: Literal["micro", "paper"]
    """Whether studies use configurations of micro-CLIP's dimensions or of the paper's."""
    source: CAMSource
    """Default maps, made with the frozen CLIP."""
    words: Words
    retraining: Retraining
    """Network trained on the masks of rows that ask for retraining."""
    maps: str = ""
    """Folder with ready-made maps, relative to that of the data set; they replace the maps of
    `source`. Empty: no such folder."""
    rule: SeedRule = OtsuBand()
    framing: Framing = Framing()
    views: int = 4
    """Fixed views per training image: the image, its mirror image, and random crops."""
    scales: tuple[float, ...] = SCALES
    flip: bool = True
    max_side: int = 512
    """Longest side in pixels; larger images are shrunk to it. Masks are scored at file size."""
    generated: Generated | None = None
    """Drawing of the data set; used where no folder is given."""
    clip_stage: str = ""
    """Folder with another micro-CLIP, relative to `--clip-stages`; empty: the shipped one."""
    registered: str = ""
    """Commit of the preregistration of predictions and tests."""
    most_steps: int = 1_000_000
    """Maximum steps of methods whose training has a recipe of its own; lower it for a trial."""
    scoring: Literal["full", "components"] = "full"
    """`components` omits the dense CRF and the diagnosis, and also scores the score map."""

    @property
    def own_maps(self) -> MapSource:
        """Maps of the frozen CLIP, or the ready-made maps in their place."""
        return FromFiles(folder=Path(self.maps)) if self.maps else CLIPMaps(source=self.source)

    def method(self, config: Config) -> Method:
        """The method of a row: WeakCLIP on the preset's maps, or the parts that the row names.

        Raises:
            ValueError: If the row uses the ground truth and so has no method.
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
        """The retraining of a row, that of the preset where the row refers to it."""
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
    generated=Generated(images=DEFAULT_SPLITS),
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
"""A user's own images (`bench/tasks/own.py`): the schedule of the paper for 1,000 images."""
SMOKE = replace(
    CARTOON,
    name="smoke",
    clip="random-micro",
    most_steps=4,
    recipe=replace(CARTOON.recipe, iterations=4, batch_size=4, warmup=1, log_every=2),
    retraining=replace(
        CARTOON.retraining,
        recipe=replace(CARTOON.retraining.recipe, iterations=4, batch_size=4, crops=Crops(size=64)),
    ),
    generated=Generated(images={"train": 8, "val": 8, "tune": 4}),
)
assert CARTOON.generated is not None
CONDITIONS = replace(
    CARTOON,
    name="conditions",
    scoring="components",
    generated=replace(CARTOON.generated, redrawn=True),
    registered="f9f85012bed76be5a1db23a12cd8970648fca0c4",
)
"""The centre of the dials of the study `conditions`."""
_PRESETS: dict[str, Preset] = {
    each.name: each for each in (CARTOON, CONDITIONS, SMOKE, VOC, COCO, FOLDER)
}


def load_preset(name: str) -> Preset:
    """Return a preset with the changes in its name: `voc+recipe.iterations=500+max_side=384`.

    Raises:
        BenchError: If the preset is unknown, or a change is not valid (`overridden`).
    """
    base, *changes = name.split("+")
    if base not in _PRESETS:
        raise unknown("preset", base, PRESETS)
    preset = _PRESETS[base]
    for change in changes:
        preset = overridden(preset, change)
    return replace(preset, name=name)


def overridden(preset: Preset, change: str) -> Preset:
    """A preset with one setting changed.

    Args:
        preset: The preset.
        change: Path and value, e.g. `recipe.iterations=500`, `scales=[1.0]`, `splits.val=train`.

    Raises:
        BenchError: If there is no such setting, or the value has the wrong type.

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
    """The name under which a study is recorded: a changed preset adds a hash of its changes.

    Example:
        >>> study_name("components", "voc"), study_name("components", "voc+flip=false")
        ('components', 'components-set-89e120c2')
    """
    _, plus, changes = preset.partition("+")
    return f"{study}{SET}{content_key(changes)[:8]}" if plus else study


def study_for(study: Study, preset: str) -> Study:
    """The study with the network dimensions of a preset; unchanged for an unknown preset.

    Raises:
        BenchError: If a row of the study has no counterpart of these dimensions.
    """
    if preset.partition("+")[0] not in _PRESETS:
        return study
    chosen = load_preset(preset)
    sized = study if chosen.size == "micro" else study_at(study, chosen.config)
    return replace(
        sized,
        name=study_name(load_name(study.name), preset),
        reference=_for_preset(sized.reference, chosen),
        variants=tuple(_for_preset(row, chosen) for row in sized.variants),
    )


def _for_preset(row: Variant, preset: Preset) -> Variant:
    """A row with the preset's retraining instead of `OfPreset` and at most its number of steps."""
    config = row.config
    if not isinstance(config, MethodRow):
        return row
    if isinstance(config.retraining, OfPreset):
        config = replace(config, retraining=preset.retraining)
    part: Any = config.refinement
    recipe = getattr(part, "recipe", None)
    if isinstance(recipe, WarmDescent) and recipe.steps > preset.most_steps:
        shorter = replace(recipe, steps=preset.most_steps)
        config = replace(config, refinement=replace(part, recipe=shorter))
    return replace(row, config=config)
