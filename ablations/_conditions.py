"""When does each component help? Dials of CartoonVOC 2, one moved at a time.

What is predicted, tested and looked at is said in `docs/preregistration.md`. Each position of a
dial is an ordinary study with a changed preset. Not a study that can be run yet (the name starts
with an underscore): its CLIP is not shipped, and the factors on the learning rates are not chosen.

Source: Zhu et al., WeakCLIP, IJCV 2025: what the paper says each component is for.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from baselines import clip_es
from baselines.plain_fpn import plain_fpn
from bench.cartoon.wide.kinds import CLASS_NAMES
from bench.oracle.spoiled import SpoiledAnnotation
from bench.studies.dial import Dial, Position
from bench.studies.method import MethodRow
from bench.studies.preset import WIDE
from bench.studies.study import Comparisons, Study, Variant
from weakclip.config import MICRO, Cosine, FixedTemplate, PlainDecoder, Resample
from weakclip.convnet.backbone import PRETRAINED_MICRO
from weakclip.convnet.classifier import MICRO_CAM
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.stages.maps import CLIPMaps

if TYPE_CHECKING:
    from bench.studies.workbench import Config
    from weakclip.config import WeakCLIPConfig
    from weakclip.stages.protocols import MaskerSpec

CENTRE = "wide"
FULL = MICRO
CONTROL = plain_fpn(FULL)
assert isinstance(CONTROL.decoder, PlainDecoder)
ROWS: dict[str, WeakCLIPConfig] = {
    "full": FULL,
    "plain-fpn": CONTROL,
    "no-prompts": replace(FULL, prompt=FixedTemplate()),
    "no-matching": replace(FULL, matching=Cosine()),
    "no-adapter": replace(FULL, adapter=Resample()),
    "no-text-guidance": replace(FULL, decoder=CONTROL.decoder),
}
SEEDS = (0, 1, 2, 3, 4)

STUDY = Study(
    name="conditions",
    question="When does each component help?",
    reference=Variant(name="full", config=FULL),
    variants=tuple(
        Variant(name=name, config=config) for name, config in ROWS.items() if name != "full"
    ),
    seeds=SEEDS,
    comparisons=(
        Comparisons(
            name="WeakCLIP against a plain FPN with its losses",
            short="plain-fpn",
            pairs=(("full", "plain-fpn"),),
        ),
    ),
    notes=("Predictions and rules were written down before any run (`docs/preregistration.md`).",),
)
"""The rows at each position of each dial."""


def _world(label: str, **values: object) -> Position:
    return _preset(label, {f"generated.world.{name}": value for name, value in values.items()})


def _preset(label: str, values: dict[str, object]) -> Position:
    changes = [f"{path}={json.dumps(value)}" for path, value in values.items()]
    return Position(label=label, preset="+".join((CENTRE, *changes)))


def _named(label: str, column: int) -> Position:
    """Every class by a rare name (1) or by one that no caption says (2)."""
    names = zip(VOC_CLASSES, CLASS_NAMES.values(), strict=True)
    chosen = {name: [known[1][0] if column == 1 else known[2]] for name, known in names}
    return _preset(label, {"words.synonyms": chosen})


def _maps(label: str, cam: MaskerSpec) -> Position:
    rows: tuple[tuple[str, Config], ...] = tuple(
        (name, MethodRow(cam=cam, refinement=config)) for name, config in ROWS.items()
    )
    return Position(label=label, preset=CENTRE, rows=rows)


def _seeds(precision: float, coverage: float) -> Position:
    """The annotation with gaps and errors in the place of seeds (an oracle)."""
    rows: tuple[tuple[str, Config], ...] = tuple(
        (
            name,
            MethodRow(
                cam=CLIPMaps(source=WIDE.source),
                refinement=SpoiledAnnotation(
                    training=WIDE.training(config), precision=precision, coverage=coverage
                ),
            ),
        )
        for name, config in ROWS.items()
    )
    return Position(label=f"{100 * precision:.0f} %", preset=CENTRE, rows=rows)


_CLASSIFIER = replace(
    MICRO_CAM, classifier=replace(MICRO_CAM.classifier, backbone=PRETRAINED_MICRO)
)
_HERE = Position(label="centre", preset=CENTRE)
_UNTRAINED = (2, 6, 8, 11, 15, 18)  # bird, car, chair, dog, potted plant, train

DIALS: tuple[Dial, ...] = (
    Dial(
        name="style distance",
        positions=(
            _world("0", style_distance=0.0), _HERE, _world("2", style_distance=2.0),
        ),
        gains="no-prompts", towards="last",
    ),
    Dial(
        name="class names",
        positions=(_HERE, _named("rare", 1), _named("never said", 2)),
        gains="no-prompts", towards="last",
    ),
    Dial(
        name="maps",
        positions=(_HERE, _maps("classifier's", _CLASSIFIER), _maps("CLIP-ES's", clip_es.MICRO)),
        gains="no-matching", towards="last",
    ),
    Dial(
        name="training images",
        positions=(
            _preset("75", {"generated.images.train": 75}),
            _preset("300", {"generated.images.train": 300}),
            _HERE,
            _preset("2400", {"generated.images.train": 2400}),
        ),
        gains="no-text-guidance", towards="first",
    ),
    Dial(
        name="training steps",
        positions=(
            _HERE,
            _preset("2x", {"recipe.iterations": 680}),
            _preset("4x", {"recipe.iterations": 1360}),
        ),
        gains="no-adapter", towards="last",
    ),
    Dial(
        name="size of objects",
        positions=(_world("0.3", object_size=0.3), _world("0.5", object_size=0.5), _HERE),
        gains="no-adapter", towards="first",
    ),
    Dial(
        name="crowding",
        positions=(
            _world("none", unnamed_objects=0.0, scene_mismatch_rate=0.0),
            _HERE,
            _world("crowded", unnamed_objects=2.0, scene_mismatch_rate=0.6),
        ),
        gains="no-matching", towards="last",
    ),
    Dial(
        name="untrained classes",
        positions=(
            _HERE,
            _world("3", untrained=_UNTRAINED[:3]),
            _world("6", untrained=_UNTRAINED),
        ),
        gains="no-text-guidance", towards="last",
    ),
    *(
        Dial(
            name=f"precision of the seeds, {100 * coverage:.0f} % decided",
            positions=tuple(_seeds(precision, coverage) for precision in (0.95, 0.85, 0.70)),
            gains="no-text-guidance", towards="last",
        )
        for coverage in (0.6, 0.3)
    ),
)  # fmt: skip
"""The quality of CLIP is missing: it needs the weights of every stage of pretraining as presets."""
