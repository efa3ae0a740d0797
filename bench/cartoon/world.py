"""The configuration of CartoonVOC, and a scene with its labels.

The defaults follow the published statistics of VOC 2012's segmentation `trainval`: 2,913 images
with 6,929 objects (2.4 per image) and 1.5 classes per image, and its class frequencies. The
distribution of object sizes is an assumption: log-uniform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing.canvas import TEXTURE_SIZE
from bench.cartoon.styles import MAX_DISTANCE
from weakclip.data.formats.masks import with_void_border
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORLD_VERSION = 1
"""Increased whenever the same (config, seed, index) would give another image or caption."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    """The difficulty of CartoonVOC; the defaults are the centre of the study `conditions`.

    Attributes:
        size: Side of the square image, pixels, 32 to 512.
        object_counts: Probability of one, two, three, ... objects.
        single_scale: Range of half the extent of an object that is alone, as a fraction of the
            frame, log-uniform.
        shared_scale: The same for each of several objects.
        typical_colour_rate: Fraction of objects with a colour typical of their class; the others
            have any colour.
        scene_mismatch_rate: Fraction of scenes whose place does not depend on the leading class.
        same_class_rate: Probability that a further object has the leading class.
        person_rate: Otherwise, probability that it is a person.
        scene_class_rate: Otherwise, probability that its class suits the place, and not any class.
        occluder_rate: Probability of a tree or rock in the foreground (outdoors).
        object_texture_rate: Fraction of objects with a surface texture.
        object_texture: Range of its standard deviation, grey levels, uniform.
        noise: Range of the standard deviation of the sensor noise, grey levels, uniform.
        gain_deviation: Standard deviation of the global gain around 1.
        offset_deviation: Standard deviation of the global offset, grey levels.
        blur_rate: Fraction of slightly blurred images.
        visible_fraction: Smallest fraction of the image with which a class counts as present.
        style_distance: 0: styles of pretraining, 1: styles that pretraining lacks, 2: stronger
            ones; values between give a mixture.
        object_size: Factor on the extent of every object.
        unnamed_objects: Mean number of objects per scene that are of no class; they are background.
        untrained: 0-based classes that do not occur in the split `train`.

    Raises:
        ValueError: If a value is out of range.
    """

    size: int = 128
    object_counts: tuple[float, ...] = (0.43, 0.22, 0.13, 0.08, 0.05, 0.04, 0.03, 0.02)
    single_scale: Range = (0.34, 0.70)
    shared_scale: Range = (0.24, 0.48)
    typical_colour_rate: float = 0.85
    scene_mismatch_rate: float = 0.15
    same_class_rate: float = 0.48
    person_rate: float = 0.1
    scene_class_rate: float = 0.75
    occluder_rate: float = 0.25
    object_texture_rate: float = 0.8
    object_texture: Range = (2.0, 9.0)
    noise: Range = (0.0, 4.0)
    gain_deviation: float = 0.1
    offset_deviation: float = 10.0
    blur_rate: float = 0.2
    visible_fraction: float = 0.004
    style_distance: float = 1.0
    object_size: float = 1.0
    unnamed_objects: float = 0.0
    untrained: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 32 <= self.size <= TEXTURE_SIZE:
            raise ValueError(f"size: expected 32 to {TEXTURE_SIZE} pixels, got {self.size}")
        if abs(sum(self.object_counts) - 1) > 1e-9 or min(self.object_counts) < 0:
            raise ValueError(
                f"object_counts: expected probabilities that sum to 1, got {self.object_counts}"
            )
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name.endswith(("_rate", "_fraction")) and not 0 <= value <= 1:
                raise ValueError(f"{name}: expected a number in [0, 1], got {value}")
            if name.endswith("_scale") and not 0.05 <= value[0] <= value[1] <= 0.8:
                raise ValueError(f"{name}: expected 0.05 <= low <= high <= 0.8, got {value}")
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
class Instance:
    """An object with at least one visible pixel.

    Attributes:
        instance_id: Value in the instance map, from 1, back to front.
        class_index: 0-based VOC class; in pretraining images, the index of `kinds.KINDS`.
        colour: Name of the main colour, None if it is not visible.
        scale: Half the nominal extent, fraction of the frame.
        centre: Centroid (x, y) of the visible pixels, fraction of the frame.
        box: Bounding box of the visible pixels, (left, top, right, bottom), right and bottom
            exclusive.
        visible_area: Number of visible pixels.
        drawn_area: Number of pixels within the frame before other objects covered some.
        truncated: Whether the object touches the border of the frame.
    """

    instance_id: int
    class_index: int
    colour: str | None
    scale: float
    centre: tuple[float, float]
    box: tuple[int, int, int, int]
    visible_area: int
    drawn_area: int
    truncated: bool

    @property
    def occluded(self) -> bool:
        """Whether another object or an occluder covers part of it."""
        return self.visible_area < self.drawn_area


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
class Scene:
    """An image and its labels.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        class_map: (S, S) uint8, 0 background, c + 1 for class c; no void.
        instance_map: (S, S) uint8, 0 none, else `Instance.instance_id`.
        stuff_map: (S, S) uint8, 0 on objects of any kind, else i + 1 for `vocabulary.STUFF[i]`.
        part_map: (S, S) uint8, 0 off objects of any kind, else i + 1 for `vocabulary.PARTS[i]`.
        instances: The visible objects, back to front; in CartoonVOC only those of VOC's classes.
        place: Key of `vocabulary.SCENES`.
        stuff: Names of the stuff that covers at least 1 % of the image.
        visible_fraction: Smallest fraction of the image with which a class counts as present.
        things: Visible objects of any kind that are large enough to be named.
        weather: Weather of its style.
    """

    image: NDArray[np.uint8]
    class_map: NDArray[np.uint8]
    instance_map: NDArray[np.uint8]
    stuff_map: NDArray[np.uint8]
    part_map: NDArray[np.uint8]
    instances: tuple[Instance, ...]
    place: str
    stuff: tuple[str, ...]
    visible_fraction: float
    things: tuple[Thing, ...]
    weather: str

    def image_labels(self) -> NDArray[np.bool_]:
        """Classes that cover at least `visible_fraction` of the image, (20,) bool."""
        counts = np.bincount(self.class_map.ravel(), minlength=len(VOC_CLASSES) + 1)[1:]
        return counts >= max(1.0, self.visible_fraction * self.class_map.size)

    def gt_mask(self) -> NDArray[np.uint8]:
        """Ground truth, (S, S) uint8: 0..20, and 255 on borders and on classes too small to count.

        The border is every pixel whose 3x3 neighbourhood contains another label.
        """
        kept = np.concatenate([[True], self.image_labels()])
        labels = with_void_border(self.class_map)
        return np.where(kept[self.class_map], labels, np.uint8(IGNORE))
