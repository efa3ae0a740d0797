"""Which class activation maps, and which refinement of them?

The rows are a grid of sources of class activation maps and refinements. Every cell is scored before
and after the dense CRF, so the CRF is a column and not a method. CLIP-ES's maps already contain its
attention affinity (CAA). `plain-fpn` is the control: WeakCLIP's training without its four
components. Methods without randomness have the same score for all seeds. Of the training-free dense
CLIPs only MaskCLIP is in the grid. The others (`weakclip/dense_attention/methods.py`) are scored
without refinement, and SCLIP also with WeakCLIP and the control. `weclip` makes its own maps on
every training view, CLIP-ES's before CAA, as published; it does not use the maps of its first slot.

The comparisons were decided before the run (`docs/statistics.md`): on each source of maps in the
grid every refinement against the map alone, WeakCLIP against the control, and WeakCLIP against
every other refinement. The control on SCLIP's maps was added after WeakCLIP's score there was
known. Settings are those of `ablations/_settings.py`.

Source: Lin et al., CLIP-ES, CVPR 2023; Xie et al., CLIMS, CVPR 2022; Zhou et al., MaskCLIP, ECCV
2022; Zhou et al., CAM, CVPR 2016; Ahn and Kwak, AffinityNet, CVPR 2018; Araslanov and Roth, PAMR,
CVPR 2020; Zhu et al., WeakCLIP, IJCV 2025; Zhang et al., WeCLIP, CVPR 2024; dense CLIPs:
`weakclip/dense_attention/source.py`.
Run: `nox -s ablate -- comparison`, or `python -m bench run comparison`.
Cost: 32 cells x 3 seeds; about 50 minutes on two CPU cores with preset `cartoon`.
Expect: `results/tables/comparison.md`; `docs/baselines.md` interprets it. Published results of the
same methods on photographs are in `results/reference.csv`; they are not comparable.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from ablations import _settings
from ablations._settings import CONTAINED, REFERENCE
from baselines import clims, clip_es
from baselines.plain_fpn import plain_fpn
from baselines.weclip import method as weclip
from bench.studies.method import MethodRow
from bench.studies.study import Comparisons, Study, Variant
from bench.studies.validity import Counterpart, Validity
from weakclip.config import PAPER
from weakclip.convnet import random_walk
from weakclip.convnet.classifier import CAM
from weakclip.dense_attention import methods
from weakclip.stages.caa import CAA
from weakclip.stages.refine import OTSU, PAMR, Keep

if TYPE_CHECKING:
    from weakclip.config import WeakCLIPConfig
    from weakclip.stages.protocols import MaskerSpec, RefinementSpec

MAPS: dict[str, MaskerSpec] = {each.name: each.settings[each.chosen] for each in _settings.MAPS}
REFINEMENTS: dict[str, RefinementSpec | WeakCLIPConfig] = {
    each.name: each.settings[each.chosen] for each in _settings.REFINEMENTS
}
DENSE: dict[str, MaskerSpec] = {
    name: method for name, method in methods.MICRO.items() if name not in MAPS
}
"""Further sources of maps, outside the grid."""
CAMS = MAPS | DENSE
PAPER_MAPS: dict[str, MaskerSpec] = {
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
    "plain-fpn": plain_fpn(PAPER),
    "weakclip": PAPER,
}
MASKS = "train-pseudo"
CELLS = tuple(names for names in product(MAPS, REFINEMENTS) if names not in CONTAINED)
BESIDE = (
    *((name, "alone") for name in DENSE),
    ("sclip", "plain-fpn"),
    ("sclip", "weakclip"),
)
"""Rows outside the grid; of these only WeakCLIP and its control are compared."""


def _name(cam: str, refinement: str) -> str:
    return f"{cam}-{refinement}"


def _cell(cam: str, refinement: str) -> Variant:
    return Variant(
        name=_name(cam, refinement),
        config=MethodRow(cam=CAMS[cam], refinement=REFINEMENTS[refinement]),
        paper=MethodRow(cam=PAPER_MAPS[cam], refinement=PAPER_REFINEMENTS[refinement]),
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

AGAINST_ALONE = Comparisons(
    name="refinement against the map alone",
    short="map alone",
    pairs=tuple((_name(cam, each), _name(cam, "alone")) for cam, each in CELLS if each != "alone"),
)
AGAINST_CONTROL = Comparisons(
    name="WeakCLIP against a plain FPN with its losses",
    short="plain-fpn",
    pairs=tuple((_name(cam, "weakclip"), _name(cam, "plain-fpn")) for cam in (*MAPS, "sclip")),
)

STUDY = Study(
    name="comparison",
    question="Which class activation maps, and which refinement of them?",
    reference=_cell(*REFERENCE),
    variants=(
        *(_cell(*names) for names in (*CELLS, *BESIDE) if names != REFERENCE),
        WECLIP,
    ),
    comparisons=(
        AGAINST_ALONE,
        AGAINST_CONTROL,
        Comparisons(
            name="WeakCLIP against every other refinement",
            short="other refinement",
            pairs=tuple(
                (_name(cam, "weakclip"), _name(cam, each))
                for cam, each in CELLS
                if each not in ("alone", "plain-fpn", "weakclip")
            ),
        ),
    ),
    validity=Validity(
        methods=(
            Counterpart(
                name="CAM",
                row="cam-alone",
                task=MASKS,
                system="AffinityNet CAM",
                stage="cam_seed",
                backbone="ResNet-38 (repository",
            ),
            Counterpart(
                name="CAM, random walk",
                row="cam-random-walk",
                task=MASKS,
                system="AffinityNet random walk",
                stage="pseudo_mask",
                backbone="ResNet-38 alpha 4/16/32",
            ),
            Counterpart(
                name="CLIMS",
                row="clims-alone",
                task=MASKS,
                system="CLIMS camera-ready",
                stage="cam_seed",
            ),
            Counterpart(
                name="CLIMS, random walk",
                row="clims-random-walk",
                task=MASKS,
                system="CLIMS camera-ready + random walk",
                stage="pseudo_mask",
            ),
            Counterpart(
                name="CLIP-ES",
                row="clip-es-alone",
                task=MASKS,
                system="CLIP-ES + CAA",
                stage="cam_refined",
            ),
            Counterpart(
                name="CLIP-ES, CRF",
                row="clip-es-alone",
                task=f"{MASKS}-crf",
                system="CLIP-ES + CAA + CRF",
                stage="pseudo_mask",
            ),
            Counterpart(
                name="WeakCLIP",
                row=_name(*REFERENCE),
                task=MASKS,
                system="WeakCLIP (network output at iter 8000; before CRF)",
                stage="cam_refined",
                split="not stated",
            ),
            Counterpart(
                name="WeakCLIP, CRF",
                row=_name(*REFERENCE),
                task=f"{MASKS}-crf",
                system="WeakCLIP",
                stage="pseudo_mask",
            ),
        ),
        order=("CAM", "CLIMS", "CLIP-ES", "WeakCLIP"),
        gains=(
            ("CAM, random walk", "CAM"),
            ("CLIMS, random walk", "CLIMS"),
            ("CLIP-ES, CRF", "CLIP-ES"),
            ("WeakCLIP, CRF", "WeakCLIP"),
            ("CLIMS", "CAM"),
            ("CLIP-ES", "CAM"),
            ("WeakCLIP", "CAM"),
        ),
    ),
    notes=(
        "Settings come from the same small search on `tune`, which uses the pixel annotation of "
        "`tune`; `tables/tuning.md` says which methods were searched.",
        "`plain-fpn`: the training of WeakCLIP without its four components.",
    ),
    published=("WeakCLIP", "CLIP-ES", "CLIMS", "AffinityNet", "IRN CAM"),
)
