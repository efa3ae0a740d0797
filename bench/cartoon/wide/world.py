"""The configuration of CartoonVOC 2, and a scene with objects that are not of a VOC class.

The defaults follow the published statistics of VOC 2012's segmentation `trainval`: 2,913 images
with 6,929 objects (2.4 per image) and 1.5 classes per image, and its class frequencies. The
distribution of object sizes is an assumption: log-uniform; 29 % of the pixels of the 600 training
images are foreground.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.cartoon.wide.styles import MAX_DISTANCE
from bench.cartoon.world import Range, Scene, WorldConfig
from weakclip.data.read.voc import VOC_CLASSES

WIDE_VERSION = 1
"""Increased whenever the same (config, seed, index) would give another image or caption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WideConfig(WorldConfig):
    """The difficulty of CartoonVOC 2: `WorldConfig` with other defaults, and further parameters.

    Attributes:
        style_distance: 0: styles of pretraining, 1: styles that pretraining lacks, 2: stronger
            ones; values between give a mixture.
        object_size: Factor on the extent of every object.
        unnamed_objects: Mean number of objects per scene that are of no class; they are background.
        untrained: 0-based classes that do not occur in the split `train`.
    """

    object_counts: tuple[float, ...] = (0.43, 0.22, 0.13, 0.08, 0.05, 0.04, 0.03, 0.02)
    single_scale: Range = (0.34, 0.70)
    shared_scale: Range = (0.24, 0.48)
    typical_colour_rate: float = 0.85
    same_class_rate: float = 0.48
    person_rate: float = 0.1
    noise: Range = (0.0, 4.0)
    style_distance: float = 1.0
    object_size: float = 1.0
    unnamed_objects: float = 0.0
    untrained: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        WorldConfig.__post_init__(self)
        if not 0 <= self.style_distance <= MAX_DISTANCE:
            raise ValueError(
                f"style_distance: expected 0 to {MAX_DISTANCE:g}, got {self.style_distance}"
            )
        if not 0.1 <= self.object_size <= 1.5:
            raise ValueError(f"object_size: expected 0.1 to 1.5, got {self.object_size}")
        if not 0 <= self.unnamed_objects <= 4:
            raise ValueError(f"unnamed_objects: expected 0 to 4, got {self.unnamed_objects}")
        known = range(len(VOC_CLASSES))
        if not set(self.untrained) < set(known):
            raise ValueError(
                f"untrained: expected classes of 0 to {known[-1]}, not all, got {self.untrained}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """The properties of a visible object, of a class or not, that a caption may name.

    Attributes:
        kind: Index of `kinds.KINDS`.
        colour: Name of the main colour, None if it is not visible.
        scale: Half the nominal extent, fraction of the frame.
        x: Centre of the visible pixels, fraction of the width.
        area: Visible pixels, fraction of the frame.
    """

    kind: int
    colour: str | None
    scale: float
    x: float
    area: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WideScene(Scene):
    """A scene whose captions may name objects that are of no class.

    Attributes:
        things: Visible objects of any kind that are large enough to be named.
        weather: Weather of its style.
    """

    things: tuple[Thing, ...]
    weather: str
