"""When does each component help?

Dials of CartoonVOC are moved one at a time. `docs/preregistration.md` has the predictions and
tests. Every position of a dial has the same rows; each seed draws its own training images. Runs
score the masks, the network without tags, and the score map; they have no dense CRF and no
diagnosis.

Source: Zhu et al., WeakCLIP, IJCV 2025: what the paper says each component is for.
Run: `nox -s ablate -- conditions --workers 2`, or `python -m bench run conditions`; with
`--only-dials style-distance` a part of it, and with `--clip-stages FOLDER` the dial of CLIP too.
Cost: 785 runs, 6 rows x 5 seeds at each of 26 positions of 11 dials; about eight hours on two CPU
cores, an estimate from one run.
Expect: `results/tables/conditions.md`, `results/figures/conditions_dials.svg`,
`docs/when-it-matters.md`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from baselines import clip_es
from baselines.plain_fpn import plain_fpn
from bench.cartoon.kinds import CLASS_NAMES
from bench.studies.dial import Dial, Dials, Position
from bench.studies.method import MethodRow, OfPreset, Spoiled
from bench.studies.preset import CONDITIONS
from bench.studies.study import Study, Variant
from bench.studies.transfer import transferred
from weakclip.config import (
    MICRO,
    PAPER,
    Cosine,
    FixedTemplate,
    LearningRates,
    PlainDecoder,
    Resample,
    ScoreMapDecoder,
    WeakCLIPConfig,
)
from weakclip.convnet.classifier import CAM, MICRO_CAM
from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weakclip.stages.protocols import MaskerSpec

FULL = replace(MICRO, rates=LearningRates())
CONTROL = plain_fpn(FULL)
assert isinstance(CONTROL.decoder, PlainDecoder)
UNSEARCHED: dict[str, WeakCLIPConfig] = {
    "full": FULL,
    "plain-fpn": CONTROL,
    "no-prompts": replace(FULL, prompt=FixedTemplate()),
    "no-matching": replace(FULL, matching=Cosine()),
    "no-adapter": replace(FULL, adapter=Resample()),
    "no-text-guidance": replace(FULL, decoder=CONTROL.decoder),
    "score-map": replace(FULL, adapter=Resample(), matching=Cosine(), decoder=ScoreMapDecoder()),
}
"""Rows with one learning rate for all parts of the network."""
RATES: dict[str, LearningRates] = {
    "full": MICRO.rates,
    "plain-fpn": LearningRates(),
}
"""Row -> factors on the learning rate of each part, chosen by `python -m bench.search.rates`; rows
that have not been searched yet have one rate for all parts."""
ROWS: dict[str, WeakCLIPConfig] = {
    name: replace(config, rates=RATES.get(name, LearningRates()))
    for name, config in UNSEARCHED.items()
}
BESIDE = "score-map"
"""Row with prompts only, whose score map is the prediction; run at the centre only."""
COMPARED = tuple(name for name in ROWS if name != BESIDE)
MAPS: dict[str, MaskerSpec] = {
    "classifier": MICRO_CAM,
    "clip-es": clip_es.MICRO,
}
PAPER_MAPS: dict[str, MaskerSpec] = {"classifier": CAM(), "clip-es": clip_es.ClipES()}
QUALITIES = tuple((precision, coverage) for coverage in (0.6, 0.3)
                  for precision in (0.95, 0.85, 0.70))  # fmt: skip
"""Pairs of precision and coverage of the seeds."""
STAGES = ("mosaics", "polish")
"""Earlier stages of the pretraining of micro-CLIP; the centre has its last stage."""


def _spoiled(precision: float, coverage: float) -> str:
    return f"spoiled-{100 * precision:.0f}-{100 * coverage:.0f}-"


def _rows(
    networks: Mapping[str, WeakCLIPConfig], maps: Mapping[str, MaskerSpec]
) -> dict[str, MethodRow]:
    """All rows: on CLIP's maps, on other maps, and on seeds made from the annotation."""
    own = {name: MethodRow(cam=OfPreset(), refinement=each) for name, each in networks.items()}
    moved = {
        f"{source}-{name}": MethodRow(cam=cam, refinement=networks[name])
        for source, cam in maps.items()
        for name in COMPARED
    }
    spoiled = {
        _spoiled(precision, coverage) + name: MethodRow(
            cam=OfPreset(),
            refinement=Spoiled(config=networks[name], precision=precision, coverage=coverage),
        )
        for precision, coverage in QUALITIES
        for name in COMPARED
    }  # fmt: skip
    return {**own, **moved, **spoiled}


def _set(label: str, **values: object) -> Position:
    """A position that changes values of the preset; `__` in a name stands for a dot of its path."""
    changes = (f"{name.replace('__', '.')}={json.dumps(v)}" for name, v in values.items())
    return Position(label=label, changes=tuple(changes))


def _world(label: str, **values: object) -> Position:
    return _set(label, **{f"generated__world__{name}": value for name, value in values.items()})


def _named(label: str, column: int) -> Position:
    """A position with a rare name of each class (column 1) or one that is in no caption (2)."""
    names = zip(VOC_CLASSES, CLASS_NAMES.values(), strict=True)
    chosen = {name: [known[1][0] if column == 1 else known[2]] for name, known in names}
    return _set(label, words__synonyms=chosen)


def _untrained(count: int) -> Position:
    """A position with `count` classes without training images, on which alone it is scored.

    With a count of 0 all classes of `_UNTRAINED` are scored.
    """
    classes = _UNTRAINED[:count] or _UNTRAINED
    moved = _world(str(count), untrained=classes) if count else Position(label="0")
    return replace(moved, classes=classes)


_UNTRAINED = (2, 6, 8, 11, 15, 18)  # bird, car, chair, dog, potted plant, train

DIALS: tuple[Dial, ...] = (
    Dial(
        name="style-distance",
        positions=(
            _world("0", style_distance=0.0), Position(label="1"), _world("2", style_distance=2.0),
        ),
        gains="no-prompts", towards="last",
    ),
    Dial(
        name="class-names",
        positions=(Position(label="as captions say"), _named("rare", 1), _named("never said", 2)),
        gains="no-prompts", towards="last",
    ),
    Dial(
        name="maps",
        positions=(
            Position(label="CLIP's own"),
            Position(label="classifier's", prefix="classifier-"),
            Position(label="CLIP-ES's", prefix="clip-es-"),
        ),
        gains="no-matching", towards="last",
    ),
    Dial(
        name="training-images",
        positions=(
            _set("75", generated__images__train=75),
            _set("300", generated__images__train=300),
            Position(label="600"),
            _set("2400", generated__images__train=2400),
        ),
        gains="no-text-guidance", towards="first",
    ),
    Dial(
        name="training-steps",
        positions=(
            Position(label="1x"),
            *(
                _set(f"{factor}x", recipe__iterations=factor * CONDITIONS.recipe.iterations)
                for factor in (2, 4)
            ),
        ),
        gains="no-adapter", towards="last",
    ),
    Dial(
        name="object-size",
        positions=(
            _world("0.3", object_size=0.3), _world("0.5", object_size=0.5), Position(label="1"),
        ),
        gains="no-adapter", towards="first",
    ),
    Dial(
        name="crowding",
        positions=(
            Position(label="centre"),
            _world("some", unnamed_objects=0.4),
            _world("crowded", unnamed_objects=2.0, scene_mismatch_rate=0.6),
        ),
        gains="no-matching", towards="last",
    ),
    Dial(
        name="clip-quality",
        positions=(*(_set(stage, clip_stage=stage) for stage in STAGES), Position(label="last")),
        gains="no-text-guidance", towards="last",
    ),
    Dial(
        name="untrained-classes",
        positions=tuple(_untrained(count) for count in (0, 3, 6)),
        gains="no-text-guidance", towards="last", tasks=("val-network",),
    ),
    *(
        Dial(
            name=f"seed-precision-at-{100 * coverage:.0f}",
            positions=tuple(
                Position(label=f"{100 * precision:.0f} %", prefix=_spoiled(precision, coverage))
                for precision, decided in QUALITIES
                if decided == coverage
            ),
            gains="no-text-guidance", towards="last",
        )
        for coverage in (0.6, 0.3)
    ),
)  # fmt: skip

_PAPER = _rows(
    {name: transferred(config, FULL, PAPER) for name, config in ROWS.items()}, PAPER_MAPS
)
_REFERENCE, *_OTHERS = (
    Variant(name=name, config=row, paper=_PAPER[name]) for name, row in _rows(ROWS, MAPS).items()
)
STUDY = Study(
    name="conditions",
    question="When does each component help?",
    reference=_REFERENCE,
    variants=tuple(_OTHERS),
    seeds=(0, 1, 2, 3, 4),
    dials=Dials(preset=CONDITIONS.name, rows=COMPARED, dials=DIALS, beside=(BESIDE,)),
    notes=(
        "Predictions and rules were written down before any run (`docs/preregistration.md`).",
        "Rows called `spoiled-...` learn from the annotation with errors and gaps (an oracle), the "
        "precision and the share of decided pixels in percent.",
        "Learning rates: "
        + ("chosen per row on `tune` (`tables/rates.md`)." if RATES else
           "one for all parts of a network, as the search of `tables/rates.md` was not run yet."),
    ),
)  # fmt: skip
"""The rows at the centre of the dials, and the dials."""
