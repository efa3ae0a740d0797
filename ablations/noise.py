"""Where does each refiner stop helping?

Seeds are made from the annotated masks of the training images (an oracle; all rows are named
`truth-...`) with one kind of error at several strengths: parts of objects are hidden, objects are
eroded or dilated, classes leak into the surroundings of their objects, objects have the class of
another tag or are missing (`bench/oracle/corruption.py` defines them). Every refiner is compared
with the seeds alone. The dense CRF has no rows, because every row is also scored after it.

The seeds and PAMR are run at three strengths, WeakCLIP and the plain FPN at the two larger ones,
the random walk at the largest, and all of them without errors as well. Single components are
switched off under the errors that are most common in real seeds: hidden parts, leakage, flipped
classes.

All refiners start from the same scores: 0.7 for the label of a pixel, 0.3 for the others. Other
settings are those of `ablations/_settings.py`, which were chosen on other maps.

Source: none; Zhu et al., WeakCLIP, IJCV 2025, measures on the seeds of its baseline only.
Run: `nox -s ablate -- noise`, or `python -m bench run noise`.
Cost: 87 rows x 3 seeds, 46 of them trained; an estimated two hours on two CPU cores with preset
`cartoon`, not measured yet.
Expect: `results/tables/noise_response.md`, `results/figures/noise_response.svg`, `docs/noise.md`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ablations import _settings
from ablations.components import STUDY as COMPONENTS
from baselines.plain_fpn import plain_fpn
from bench.oracle.corruption import CORRUPTIONS
from bench.oracle.truth import OracleTruth
from bench.studies.method import MethodRow
from bench.studies.study import Comparisons, Curve, Point, Response, Study, Variant
from bench.studies.transfer import transferred
from weakclip.config import PAPER, WeakCLIPConfig
from weakclip.convnet import random_walk
from weakclip.stages.refine import PAMR, Keep, Power

if TYPE_CHECKING:
    from bench.oracle.corruption import Corruption
    from weakclip.stages.protocols import RefinementSpec

STRENGTHS = (0.25, 0.5, 0.75)
TRAINED_AT = STRENGTHS[1:]
LARGEST = STRENGTHS[-1]
ABLATED: tuple[Corruption, ...] = ("parts", "leakage", "flipped")
"""Corruptions with rows without single components, at the largest strength."""
LABELS = {
    "parts": "share of each object hidden",
    "eroded": "eroded by, inner radii",
    "dilated": "dilated by, radii",
    "leakage": "leaked area, objects",
    "flipped": "share of objects flipped",
    "missing": "share of objects missing",
}
SEEDS, CRF = "seeds", "crf"
PSEUDO, AFTER_CRF = "train-pseudo", "train-pseudo-crf"

_HALF = Power(alpha=1)  # background and strongest class share the certainty of a pixel
_CHOSEN = {each.name: each.settings[each.chosen] for each in _settings.REFINEMENTS}
_FULL, _PAMR, _WALK = _CHOSEN["weakclip"], _CHOSEN["pamr"], _CHOSEN["random-walk"]
assert isinstance(_FULL, WeakCLIPConfig)
assert isinstance(_PAMR, PAMR)
assert isinstance(_WALK, random_walk.RandomWalk)


def _walk(spec: random_walk.RandomWalk) -> random_walk.RandomWalk:
    """The random walk with seeds that are confident at every pixel."""
    return replace(spec, background=_HALF, sure_foreground=_HALF, sure_background=_HALF)


REFINERS: dict[str, tuple[RefinementSpec | WeakCLIPConfig, RefinementSpec | WeakCLIPConfig]] = {
    SEEDS: (Keep(background=_HALF), Keep(background=_HALF)),
    "pamr": (replace(_PAMR, background=_HALF), PAMR(background=_HALF)),
    "random-walk": (_walk(_WALK), _walk(random_walk.RandomWalk())),
    "plain-fpn": (plain_fpn(_FULL), plain_fpn(PAPER)),
    "weakclip": (_FULL, PAPER),
}
"""Refiner -> configurations for CartoonVOC and for photographs."""
_FIRST = COMPONENTS.reference.config
assert isinstance(_FIRST, WeakCLIPConfig)
WITHOUT: dict[str, tuple[WeakCLIPConfig, WeakCLIPConfig]] = {
    f"weakclip-{row.name}": (row.config, transferred(row.config, _FIRST, PAPER))
    for row in COMPONENTS.variants
    if row.name.startswith("no-") and isinstance(row.config, WeakCLIPConfig)
}
"""WeakCLIP without one component."""
ALL = {**REFINERS, **WITHOUT}


def strengths(refiner: str, corruption: Corruption) -> tuple[float, ...]:
    """The strengths of a corruption at which a refiner is run, besides 0."""
    if refiner in (SEEDS, "pamr"):
        return STRENGTHS
    if refiner in ("plain-fpn", "weakclip"):
        return TRAINED_AT
    return (LARGEST,) if refiner == "random-walk" or corruption in ABLATED else ()


def name_of(refiner: str, corruption: Corruption, strength: float) -> str:
    """The name of a row; strength 0 is the same for all corruptions.

    Example:
        >>> name_of("weakclip", "parts", 0.5), name_of("weakclip", "parts", 0)
        ('truth-parts-50-weakclip', 'truth-weakclip')
    """
    return f"truth-{corruption}-{100 * strength:.0f}-{refiner}" if strength else f"truth-{refiner}"


def _row(refiner: str, corruption: Corruption, strength: float) -> Variant:
    micro, paper = ALL[refiner]
    truth = OracleTruth(corruption=corruption, strength=strength)
    return Variant(
        name=name_of(refiner, corruption, strength),
        config=MethodRow(cam=truth, refinement=micro),
        paper=MethodRow(cam=truth, refinement=paper),
    )


def _point(refiner: str, corruption: Corruption, strength: float) -> Point:
    seeds = name_of(SEEDS, corruption, strength)
    row = seeds if refiner == CRF else name_of(refiner, corruption, strength)
    task = AFTER_CRF if refiner == CRF else PSEUDO
    return Point(x=strength, row=row, task=task, against=seeds, against_task=PSEUDO)


def _curve(refiner: str, corruption: Corruption) -> Curve:
    at = strengths(SEEDS if refiner == CRF else refiner, corruption)
    points = tuple(_point(refiner, corruption, strength) for strength in (0.0, *at))
    return Curve(name=refiner, points=points)


def _against(name: str, short: str, other: str) -> Comparisons:
    """WeakCLIP against another refiner, without errors and at both strengths of each corruption."""
    places = (TRUTH, *((corruption, at) for corruption in CORRUPTIONS for at in TRAINED_AT))
    pairs = tuple((name_of("weakclip", *place), name_of(other, *place)) for place in places)
    return Comparisons(name=name, short=short, pairs=pairs)


TRUTH: tuple[Corruption, float] = (CORRUPTIONS[0], 0.0)
CLEAN = tuple(_row(refiner, *TRUTH) for refiner in ALL)
NOISY = tuple(
    (refiner, corruption, strength)
    for corruption in CORRUPTIONS
    for refiner in ALL
    for strength in strengths(refiner, corruption)
)

STUDY = Study(
    name="noise",
    question="Where does each refiner stop helping?",
    reference=CLEAN[0],
    variants=(*CLEAN[1:], *(_row(*cell) for cell in NOISY)),
    responses=tuple(
        Response(
            name=corruption,
            label=LABELS[corruption],
            curves=tuple(
                _curve(refiner, corruption)
                for refiner in (SEEDS, CRF, *list(ALL)[1:])
                if refiner == CRF or strengths(refiner, corruption)
            ),
        )
        for corruption in CORRUPTIONS
    ),
    comparisons=(
        _against("WeakCLIP against the seeds alone", "seeds alone", SEEDS),
        _against("WeakCLIP against a plain FPN with its losses", "plain-fpn", "plain-fpn"),
        Comparisons(
            name="WeakCLIP against WeakCLIP without a component",
            short="without a component",
            pairs=tuple(
                (name_of("weakclip", *place), name_of(each, *place))
                for each in WITHOUT
                for place in (TRUTH, *((each, LARGEST) for each in ABLATED))
            ),
        ),
    ),
    notes=(
        "Oracle: every row starts from the annotated masks of the training images with the "
        "mistakes that its name says, the strength in percent. None is a method to be used.",
    ),
)
