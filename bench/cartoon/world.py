"""The values of the cartoon world: its difficulty knobs, a scene and all that is true of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing.canvas import TEXTURE_SIZE
from weakclip.data.formats.masks import with_void_border
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORLD_VERSION = 1
"""Raised whenever the same (config, seed, index) would give another picture."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    """How hard the world is.

    The defaults are those at which a small CLIP learns to recognise and to localise. With smaller
    objects, uniformly random colours and stronger noise, the CAMs of the same CLIP never passed
    34 mIoU and refining them gained nothing.

    Attributes:
        size: Side of the square image, pixels, 32 to 512.
        object_counts: Probability of one, two, three, ... objects.
        background_only_rate: Probability of a scene without objects.
        single_scale: Half extent of a lone object, fraction of the frame, log-uniform.
        shared_scale: The same for each of several objects.
        typical_colour_rate: Share of objects in a colour typical of their class; else any.
        scene_mismatch_rate: Share of scenes whose place ignores what the leading class prefers.
        same_class_rate: Probability that a further object repeats the leading class.
        person_rate: Else, probability that it is a person.
        scene_class_rate: Else, probability that it suits the place; else any class.
        occluder_rate: Probability of a foreground tree or rock (outdoors).
        object_texture_rate: Share of objects with a surface texture.
        object_texture: Its standard deviation, grey levels, uniform.
        noise: Standard deviation of the sensor noise, grey levels, uniform.
        gain_deviation: Standard deviation of the global gain around 1.
        offset_deviation: Standard deviation of the global offset, grey levels.
        blur_rate: Share of slightly blurred images.
        visible_fraction: A class counts as present from this fraction of the image on.
    """

    size: int = 128
    object_counts: tuple[float, ...] = (0.55, 0.32, 0.13)
    background_only_rate: float = 0.0
    single_scale: Range = (0.38, 0.60)
    shared_scale: Range = (0.30, 0.44)
    typical_colour_rate: float = 0.75
    scene_mismatch_rate: float = 0.15
    same_class_rate: float = 0.3
    person_rate: float = 0.3
    scene_class_rate: float = 0.75
    occluder_rate: float = 0.25
    object_texture_rate: float = 0.8
    object_texture: Range = (2.0, 9.0)
    noise: Range = (1.0, 5.0)
    gain_deviation: float = 0.1
    offset_deviation: float = 10.0
    blur_rate: float = 0.2
    visible_fraction: float = 0.004

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One object of which at least one pixel can be seen.

    Attributes:
        instance_id: Its value in the instance map, from 1, back to front.
        class_index: 0-based VOC class.
        colour: Name of its main colour, None if it does not show.
        scale: Half its nominal extent, fraction of the frame.
        centre: Centroid (x, y) of its visible pixels, fraction of the frame.
        box: Box of its visible pixels, (left, top, right, bottom), right and bottom exclusive.
        visible_area: Number of its visible pixels.
        drawn_area: Number of its pixels within the frame before others covered it.
        truncated: Whether the frame cuts it.
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
        """Whether something in front covers part of it."""
        return self.visible_area < self.drawn_area


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A picture and everything that is true of it.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        class_map: (S, S) uint8, 0 background, c + 1 for class c; no void.
        instance_map: (S, S) uint8, 0 none, else `Instance.instance_id`.
        stuff_map: (S, S) uint8, 0 on objects, else i + 1 for `vocabulary.STUFF[i]`.
        part_map: (S, S) uint8, 0 off objects, else i + 1 for `vocabulary.PARTS[i]`.
        instances: The visible objects, back to front.
        place: Key of `vocabulary.SCENES`.
        stuff: Names of the stuff that covers at least 1 % of the image.
        visible_fraction: A class is present from this fraction of the image on.
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

    def image_labels(self) -> NDArray[np.bool_]:
        """Classes present, (20,) bool: at least `visible_fraction` of the image is theirs."""
        counts = np.bincount(self.class_map.ravel(), minlength=len(VOC_CLASSES) + 1)[1:]
        return counts >= max(1.0, self.visible_fraction * self.class_map.size)

    def gt_mask(self) -> NDArray[np.uint8]:
        """Ground truth, (S, S) uint8: 0..20, and 255 on borders and on classes too small to count.

        The border is every pixel whose 3x3 neighbourhood holds another label.
        """
        kept = np.concatenate([[True], self.image_labels()])
        labels = with_void_border(self.class_map)
        return np.where(kept[self.class_map], labels, np.uint8(IGNORE))
