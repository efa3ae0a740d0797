"""How do the methods compare, and does any refinement help any seed?

A grid: whose class activation maps (rows of a block) by what is made of them. Every cell is scored
before and after the dense CRF, so the CRF is a column and not a method. CLIP-ES's maps contain its
attention affinity (CAA) already. Methods without randomness give the same figures for all seeds.
Of the training-free dense CLIPs MaskCLIP is in the grid; the others differ from it by what
`baselines/dense_attention/methods.py` says and stand alone, SCLIP with WeakCLIP as well. WeCLIP as
a refinement learns from the given maps; `weclip` makes its own, CLIP-ES's before CAA, on every
training view, as published, and is not shown the maps of its first slot.

Source: Lin et al., CLIP-ES, CVPR 2023; Xie et al., CLIMS, CVPR 2022; Zhou et al., MaskCLIP, ECCV
2022; Zhou et al., CAM, CVPR 2016; Ahn and Kwak, AffinityNet, CVPR 2018; Araslanov and Roth, PAMR,
CVPR 2020; Zhu et al., WeakCLIP, IJCV 2025; Zhang et al., WeCLIP, CVPR 2024; dense CLIPs:
`baselines/dense_attention/source.py`.
Run: `nox -s ablate -- comparison`, or `python -m bench run comparison`.
Cost: 30 cells x 3 seeds; 19 of them took 63 minutes on two CPU cores (not idle otherwise) with
preset `cartoon`.
Expect: `results/tables/comparison.md`, and what to make of it in `docs/baselines.md`. Published
figures of the same methods on photographs stand in `results/reference.csv` and are another world.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from baselines import clims, clip_es, maskclip, random_walk
from baselines.classifier import CAM, MICRO_CAM
from baselines.dense_attention import methods
from baselines.weclip import method as weclip
from bench.studies.method import MethodRow
from bench.studies.study import Study, Variant
from weakclip.config import MICRO, PAPER, WeakCLIPConfig
from weakclip.stages.caa import CAA
from weakclip.stages.refine import MICRO_PAMR, OTSU, PAMR, Keep
from weakclip.stages.seeds import Affinity

if TYPE_CHECKING:
    from weakclip.stages.protocols import MaskerSpec, RefinementSpec

CAMS: dict[str, MaskerSpec] = {
    "cam": MICRO_CAM,
    "clip-es": clip_es.MICRO,
    "clims": clims.MICRO,
    "maskclip": maskclip.MICRO,
}
DENSE: dict[str, MaskerSpec] = {
    name: method for name, method in methods.MICRO.items() if name not in CAMS
}
"""Maps that stand beside the grid."""
REFINEMENTS: dict[str, RefinementSpec | WeakCLIPConfig] = {
    "alone": Keep(background=OTSU),
    "caa": CAA(affinity=Affinity(boxes="whole"), background=OTSU),
    "pamr": MICRO_PAMR,
    "random-walk": random_walk.MICRO,
    "weakclip": MICRO,
    "weclip": replace(weclip.MICRO, initial="given"),
}
PAPER_CAMS: dict[str, MaskerSpec] = {
    "cam": CAM(),
    "clip-es": clip_es.ClipES(),
    "clims": clims.VOC,
    **methods.METHODS,
}
"""The same sources as published, for photographs."""
PAPER_REFINEMENTS: dict[str, RefinementSpec | WeakCLIPConfig] = {
    "alone": Keep(background=OTSU),
    "caa": CAA(background=OTSU),
    "pamr": PAMR(),
    "random-walk": random_walk.RandomWalk(),
    "weakclip": PAPER,
    "weclip": replace(weclip.VOC, initial="given"),
}
BESIDE = (*((name, "alone") for name in DENSE), ("sclip", "weakclip"))
CONTAINED = {("clip-es", "caa"), ("clip-es", "weclip")}
"""Cells that would apply a step twice."""

REFERENCE = ("maskclip", "weakclip")


def _cell(cam: str, refinement: str) -> Variant:
    return Variant(
        name=f"{cam}-{refinement}",
        config=MethodRow(cam=(CAMS | DENSE)[cam], refinement=REFINEMENTS[refinement]),
        paper=MethodRow(cam=PAPER_CAMS[cam], refinement=PAPER_REFINEMENTS[refinement]),
    )


WITHOUT_CAA = replace(clip_es.MICRO, source=replace(clip_es.MICRO.source, affinity=None))
WECLIP = Variant(
    name="weclip",
    config=MethodRow(cam=WITHOUT_CAA, refinement=weclip.MICRO),
    paper=MethodRow(
        cam=clip_es.ClipES(source=replace(clip_es.RELEASED_SOURCE, affinity=None)),
        refinement=weclip.VOC,
    ),
)

STUDY = Study(
    name="comparison",
    question="Which class activation maps, and which refinement of them?",
    reference=_cell(*REFERENCE),
    variants=(
        *(
            _cell(*names)
            for names in (*product(CAMS, REFINEMENTS), *BESIDE)
            if names not in CONTAINED and names != REFERENCE
        ),
        WECLIP,
    ),
    published=("WeakCLIP", "CLIP-ES", "CLIMS", "AffinityNet", "IRN CAM"),
)
