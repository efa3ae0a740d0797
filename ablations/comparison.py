"""How do the methods compare, and does any refinement help any seed?

A grid: whose class activation maps (rows of a block) by what is made of them. Every cell is scored
before and after the dense CRF, so the CRF is a column and not a method. CLIP-ES's maps contain its
attention affinity (CAA) already. Methods without randomness give the same figures for all seeds.

Source: Lin et al., CLIP-ES, CVPR 2023; Xie et al., CLIMS, CVPR 2022; Zhou et al., MaskCLIP, ECCV
2022; Zhou et al., CAM, CVPR 2016; Ahn and Kwak, AffinityNet, CVPR 2018; Araslanov and Roth, PAMR,
CVPR 2020; Zhu et al., WeakCLIP, IJCV 2025.
Run: `nox -s ablate -- comparison`, or `python -m bench run comparison`.
Cost: 19 cells x 3 seeds, 63 minutes on two CPU cores (not idle otherwise) with preset `cartoon`.
Expect: `results/tables/comparison.md`, and what to make of it in `docs/baselines.md`. Published
figures of the same methods on photographs stand in `results/reference.csv` and are another world.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from baselines import clims, clip_es, maskclip, random_walk
from baselines.caa import CAA
from baselines.classifier import MICRO_CAM
from baselines.refinement import MICRO_PAMR, OTSU, Keep
from bench.studies.method import Method
from bench.studies.study import Study, Variant
from weakclip.config import MICRO, WeakCLIPConfig
from weakclip.stages.seeds import Affinity

if TYPE_CHECKING:
    from weakclip.stages.protocols import MaskerSpec, RefinementSpec

CAMS: dict[str, MaskerSpec] = {
    "cam": MICRO_CAM,
    "clip-es": clip_es.MICRO,
    "clims": clims.MICRO,
    "maskclip": maskclip.MICRO,
}
REFINEMENTS: dict[str, RefinementSpec | WeakCLIPConfig] = {
    "alone": Keep(background=OTSU),
    "caa": CAA(affinity=Affinity(boxes="whole"), background=OTSU),
    "pamr": MICRO_PAMR,
    "random-walk": random_walk.MICRO,
    "weakclip": MICRO,
}
CONTAINED = {("clip-es", "caa")}
"""Cells that would apply a step twice."""

REFERENCE = ("maskclip", "weakclip")


def _cell(cam: str, refinement: str) -> Variant:
    return Variant(
        name=f"{cam}-{refinement}",
        config=Method(cam=CAMS[cam], refinement=REFINEMENTS[refinement]),
    )


STUDY = Study(
    name="comparison",
    question="Which class activation maps, and which refinement of them?",
    reference=_cell(*REFERENCE),
    variants=tuple(
        _cell(*names)
        for names in product(CAMS, REFINEMENTS)
        if names not in CONTAINED and names != REFERENCE
    ),
    published=("WeakCLIP", "CLIP-ES", "CLIMS", "AffinityNet", "IRN CAM"),
)
