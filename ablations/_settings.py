"""Map sources and refinements of the comparison, and the settings that the search tries.

Every map source and every refinement, including WeakCLIP and its control, gets the same small
search on the split `tune` (`python -m bench.search.methods`; `results/tables/tuning.md` lists the
searches that were run). This module is not a study, so its name starts with an underscore.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from baselines import clims, clip_es, maskclip
from baselines.plain_fpn import plain_fpn
from bench.studies.method import MethodRow, Searched
from weakclip.config import MICRO, SeedAndBoundary, TextGuidedDecoder
from weakclip.convnet import random_walk
from weakclip.convnet.classifier import MICRO_CAM
from weakclip.stages.caa import CAA
from weakclip.stages.refine import MICRO_PAMR, OTSU, PAMR, Keep, Otsu, Power
from weakclip.stages.seeds import Affinity

if TYPE_CHECKING:
    from weakclip.config import WeakCLIPConfig
    from weakclip.stages.protocols import MaskerSpec, RefinementSpec

assert isinstance(MICRO.supervision, SeedAndBoundary)
assert isinstance(MICRO.decoder, TextGuidedDecoder)
_LOSSES, _DECODER = MICRO.supervision, MICRO.decoder
_PAPERS = replace(MICRO, supervision=replace(_LOSSES, boundary_weight=1.0))
_WEAKCLIP = {
    "paper's boundary loss": _PAPERS,
    "MICRO: boundary loss x 0.5": MICRO,
    "boundary loss x 2": replace(MICRO, supervision=replace(_LOSSES, boundary_weight=2.0)),
    "release's dropout 0.1": replace(_PAPERS, decoder=replace(_DECODER, dropout=0.1)),
}
_AFFINITY = clip_es.RELEASED_SOURCE.affinity
assert _AFFINITY is not None
_WHOLE = CAA(affinity=Affinity(boxes="whole"), background=OTSU)


def _clip_es(affinity: Affinity) -> clip_es.ClipES:
    return replace(clip_es.MICRO, source=replace(clip_es.MICRO.source, affinity=affinity))


MAPS: tuple[Searched[MaskerSpec], ...] = (
    Searched(
        name="cam",
        settings={
            "MICRO: scales 0.5, 1": MICRO_CAM,
            "scale 1": replace(MICRO_CAM, scales=(1.0,)),
            "scales 0.5, 1, 1.5": replace(MICRO_CAM, scales=(0.5, 1.0, 1.5)),
            "release's scales 0.5, 1, 1.5, 2": replace(MICRO_CAM, scales=(1.0, 0.5, 1.5, 2.0)),
        },
        chosen="MICRO: scales 0.5, 1",
    ),
    Searched(
        name="clip-es",
        settings={
            "MICRO: input of the last block": clip_es.MICRO,
            "release's hook": replace(clip_es.MICRO, source=clip_es.RELEASED_SOURCE),
            "release's box threshold for COCO, 0.7": _clip_es(
                replace(_AFFINITY, box_threshold=0.7)
            ),
            "whole boxes": _clip_es(replace(_AFFINITY, boxes="whole")),
        },
        chosen="MICRO: input of the last block",
    ),
    Searched(
        name="clims",
        settings={
            "MICRO: scales 0.5, 1, critic's learning rate 0.01": clims.MICRO,
            "release's scales 0.5, 1, 1.5, 2": replace(clims.MICRO, scales=(1.0, 0.5, 1.5, 2.0)),
            "critic's learning rate 0.005": replace(
                clims.MICRO, critique=replace(clims.MICRO.critique, learning_rate=0.005)
            ),
            "critic's learning rate 0.02": replace(
                clims.MICRO, critique=replace(clims.MICRO.critique, learning_rate=0.02)
            ),
        },
        chosen="critic's learning rate 0.005",
    ),
    Searched(
        name="maskclip",
        settings={
            "MICRO: neither repair": maskclip.MICRO,
            "key smoothing": replace(maskclip.MICRO, key_smoothing=1.0),
            "prompt denoising": replace(maskclip.MICRO, prompt_denoising=0.5),
            "key smoothing and prompt denoising": replace(
                maskclip.MICRO, key_smoothing=1.0, prompt_denoising=0.5
            ),
        },
        chosen="MICRO: neither repair",
    ),
)
"""Map sources and their settings."""

REFINEMENTS: tuple[Searched[RefinementSpec | WeakCLIPConfig], ...] = (
    Searched(
        name="alone",
        settings={
            "Otsu's threshold": Keep(background=OTSU),
            "mean below Otsu's threshold": Keep(background=Otsu(edge="weak")),
            "CLIP-ES's background, power 1": Keep(background=Power(alpha=1)),
            "AffinityNet's background, power 4": Keep(background=Power(alpha=4)),
        },
        chosen="Otsu's threshold",
    ),
    Searched(
        name="caa",
        settings={
            "Otsu's threshold": _WHOLE,
            "release's background, power 1": replace(_WHOLE, background=Power(alpha=1)),
            "release's box threshold for COCO, 0.7": replace(
                _WHOLE, affinity=Affinity(boxes="whole", box_threshold=0.7)
            ),
            "last third of the blocks": replace(
                _WHOLE, affinity=Affinity(boxes="whole", blocks=1 / 3)
            ),
        },
        chosen="Otsu's threshold",
    ),
    Searched(
        name="pamr",
        settings={
            "MICRO: dilations 1, 2, 3, 6": MICRO_PAMR,
            "release's dilations 1, 2, 4, 8, 12, 24": PAMR(),
            "release's dilations, 20 iterations": PAMR(iterations=20),
            "dilations 1, 2, 3, 6, 20 iterations": replace(MICRO_PAMR, iterations=20),
        },
        chosen="release's dilations, 20 iterations",
    ),
    Searched(
        name="random-walk",
        settings={
            "MICRO: sharpness 32, 16 steps": random_walk.MICRO,
            "release's sharpness 8, 256 steps": replace(
                random_walk.MICRO, sharpness=8.0, steps=256
            ),
            "sharpness 16": replace(random_walk.MICRO, sharpness=16.0),
            "32 steps": replace(random_walk.MICRO, steps=32),
        },
        chosen="MICRO: sharpness 32, 16 steps",
    ),
    Searched(
        name="plain-fpn",
        settings={name: plain_fpn(config) for name, config in _WEAKCLIP.items()},
        chosen="MICRO: boundary loss x 0.5",
    ),
    Searched(name="weakclip", settings=_WEAKCLIP, chosen="MICRO: boundary loss x 0.5"),
)
"""Refinements and their settings."""

SEARCHED: tuple[Searched[Any], ...] = (*MAPS, *REFINEMENTS)
_MAPS = {each.name: each for each in MAPS}
_REFINEMENTS = {each.name: each for each in REFINEMENTS}

CONTAINED = {("clip-es", "caa")}
"""Pairs of map source and refinement that are left out: the maps contain the refinement."""

REFERENCE = ("maskclip", "weakclip")
TUNED_ON, CONFIRMED_ON = "maskclip", "clip-es"
"""Map source on which refinements are tuned, as all of them apply to it; and map source on which a
new setting must be better too."""
CONFIRMED_BY = {"clip-es": "pamr"}
"""Map source -> refinement with which a new setting of the maps must be better too; default CAA."""


def tuned_with(name: str, setting: str) -> MethodRow:
    """The method that the search runs for a setting of a map source or refinement.

    A map source is followed only by Otsu's background; a refinement is applied to MaskCLIP's maps.
    """
    if name in _MAPS:
        return MethodRow(cam=_MAPS[name].settings[setting], refinement=Keep(background=OTSU))
    return _after(TUNED_ON, name, setting)


def confirmed_with(name: str, setting: str) -> MethodRow | None:
    """The method that the search also runs before it replaces the first setting.

    A map source is followed by CAA, or by PAMR if it contains CAA. A refinement is applied to
    CLIP-ES's maps; None for a refinement that these contain.
    """
    if name in _MAPS:
        with_it = _REFINEMENTS[CONFIRMED_BY.get(name, "caa")]
        first = next(iter(with_it.settings.values()))
        return MethodRow(cam=_MAPS[name].settings[setting], refinement=first)
    if (CONFIRMED_ON, name) in CONTAINED:
        return None
    return _after(CONFIRMED_ON, name, setting)


def _after(cam: str, name: str, setting: str) -> MethodRow:
    maps = next(iter(_MAPS[cam].settings.values()))
    return MethodRow(cam=maps, refinement=_REFINEMENTS[name].settings[setting])
