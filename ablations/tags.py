"""What do methods lose when image-level tags are wrong?

Annotators forget tags and add wrong ones. Here 5, 10 or 20 % of the tags are missing, or as many
are surplus, with the distribution of `bench/studies/tags.py`. A method gets the wrong tags wherever
it uses tags: for its maps, in training, and when masks of training images are restricted to them.
Masks are scored against the annotation. Every row is compared with the same method on the tags of
the data set.

The rows are the preset's own maps (on photographs CLIP-ES's), a classifier's maps (CAM), which is
trained on the wrong tags, and the plain FPN and WeakCLIP on the preset's maps. The dense CRF has no
rows, because every row is also scored after it.

Source: none for methods that start from CLIP; the question matters to those who tag images.
Run: `nox -s ablate -- tags`, or `python -m bench run tags`.
Cost: 28 rows x 3 seeds, 21 of them trained; an estimated 50 minutes on two CPU cores with preset
`cartoon`, not measured yet.
Expect: `results/tables/tags_response.md`, `results/figures/tags_response.svg`, `docs/tags.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from ablations import _settings
from baselines.plain_fpn import plain_fpn
from bench.studies.method import MethodRow
from bench.studies.study import Comparisons, Curve, Point, Response, Study, Variant
from bench.studies.tags import WrongTags
from weakclip.config import MICRO, PAPER
from weakclip.convnet.classifier import CAM
from weakclip.masking.plan import CLIP_ES_MAPS
from weakclip.stages.maps import CLIPMaps
from weakclip.stages.refine import OTSU, Keep

if TYPE_CHECKING:
    from weakclip.config import WeakCLIPConfig
    from weakclip.stages.protocols import MaskerSpec, RefinementSpec

Kind: TypeAlias = Literal["missing", "surplus"]
KINDS: tuple[Kind, ...] = ("missing", "surplus")
RATES = (0.05, 0.1, 0.2)
PSEUDO, AFTER_CRF, VAL = "train-pseudo", "train-pseudo-crf", "val-network"

_CAM = next(each for each in _settings.MAPS if each.name == "cam")
_OURS, _OURS_PAPER = CLIPMaps(), CLIPMaps(source=CLIP_ES_MAPS)
_ALONE = Keep(background=OTSU)
Parts: TypeAlias = "tuple[MaskerSpec, RefinementSpec | WeakCLIPConfig]"
METHODS: dict[str, tuple[Parts, Parts]] = {
    "weakclip": ((_OURS, MICRO), (_OURS_PAPER, PAPER)),
    "plain-fpn": ((_OURS, plain_fpn(MICRO)), (_OURS_PAPER, plain_fpn(PAPER))),
    "maps": ((_OURS, _ALONE), (_OURS_PAPER, _ALONE)),
    "cam": ((_CAM.settings[_CAM.chosen], _ALONE), (CAM(), _ALONE)),
}
"""Method -> maps and refinement, for CartoonVOC and for photographs."""
CURVES = {
    "maps": ("maps", PSEUDO),
    "maps, CRF": ("maps", AFTER_CRF),
    "cam": ("cam", PSEUDO),
    "plain-fpn": ("plain-fpn", PSEUDO),
    "weakclip": ("weakclip", PSEUDO),
    "plain-fpn on val": ("plain-fpn", VAL),
    "weakclip on val": ("weakclip", VAL),
}
"""Curve -> method and task."""


def name_of(method: str, kind: Kind, rate: float) -> str:
    """The name of a row; with rate 0, that of its method.

    Example:
        >>> name_of("cam", "missing", 0.05), name_of("cam", "missing", 0)
        ('missing-5-cam', 'cam')
    """
    return f"{kind}-{100 * rate:.0f}-{method}" if rate else method


def _row(method: str, kind: Kind, rate: float) -> Variant:
    micro, paper = METHODS[method]
    tags = WrongTags(kind=kind, rate=rate) if rate else None
    return Variant(
        name=name_of(method, kind, rate),
        config=MethodRow(cam=micro[0], refinement=micro[1], tags=tags),
        paper=MethodRow(cam=paper[0], refinement=paper[1], tags=tags),
    )


def _curve(curve: str, kind: Kind) -> Curve:
    method, task = CURVES[curve]
    points = tuple(
        Point(
            x=100 * rate, row=name_of(method, kind, rate), task=task,
            against=method, against_task=task,
        )
        for rate in (0.0, *RATES)
    )  # fmt: skip
    return Curve(name=curve, points=points)


WRONG = tuple((method, kind, rate) for kind in KINDS for rate in RATES for method in METHODS)

STUDY = Study(
    name="tags",
    question="What do methods lose when image-level tags are wrong?",
    reference=_row("weakclip", KINDS[0], 0),
    variants=(
        *(_row(method, KINDS[0], 0) for method in METHODS if method != "weakclip"),
        *(_row(*cell) for cell in WRONG),
    ),
    responses=tuple(
        Response(
            name=kind,
            label=f"{kind} tags, chance of each tag, %",
            curves=tuple(_curve(curve, kind) for curve in CURVES),
        )
        for kind in KINDS
    ),
    comparisons=(
        Comparisons(
            name="wrong tags against right tags",
            short="right tags",
            pairs=tuple((name_of(*cell), cell[0]) for cell in WRONG),
        ),
    ),
    notes=(
        "Names say how the tags of training images are wrong, in percent. Masks are restricted to "
        "the wrong tags and scored against the annotation; `val-network` predicts without tags.",
    ),
)
