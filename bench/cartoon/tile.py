"""Tiles: small random crops of scenes, whose captions name only what is in the crop.

A tile contains little besides what its caption names. Training on tiles therefore makes the tokens
of the image tower local.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from bench.cartoon.sample import sample_scene, visible_instances, visible_stuff
from bench.cartoon.vocabulary import DISPLAY_NAMES

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from bench.cartoon.world import Instance, Scene, WorldConfig

_SCENE_SIZE = 96  # side of the scene a tile is cut from, pixels
_SMALLEST_CROP = 40
_EMPTY_RATE = 0.12
_SINGLE_RATE = 0.8
_CROP_RATE = 0.7
_MISMATCH_RATE = 0.3
_VISIBLE_FRACTION = 0.03  # a class is named from this share of the tile on
_TILE_STREAM = 2  # makes the random choices of a tile independent of those of its scene

Window = tuple[int, int, int]
"""Top, left and side of a square crop, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A crop of a scene.

    Attributes:
        image: (T, T, 3) uint8 RGB.
        labels: Classes that cover at least 3 % of the tile, (20,) bool.
        instances: Objects with a visible pixel, measured within the tile.
        place: Key of `vocabulary.SCENES`.
        stuff: Names of the stuff that covers at least 1 % of the tile.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    instances: tuple[Instance, ...]
    place: str
    stuff: tuple[str, ...]

    def image_labels(self) -> NDArray[np.bool_]:
        """Classes present, (20,) bool."""
        return self.labels


def sample_tile(config: WorldConfig, seed: int, index: int, *, size: int = 64) -> Tile:
    """One tile with no object (12 %), one object or two; most are cropped around the objects.

    70 % of the tiles with objects are cropped. Classes are drawn uniformly, places are less typical
    than in whole scenes, and there are no occluders.

    Args:
        config: Difficulty of the data set; its `size` is not used.
        seed: Seed of the data set, not negative.
        index: Number of the tile, not negative.
        size: Side of the tile, pixels.
    """
    rng = np.random.default_rng([seed, index, _TILE_STREAM])
    config = replace(
        config,
        size=_SCENE_SIZE,
        scene_mismatch_rate=_MISMATCH_RATE,
        visible_fraction=_VISIBLE_FRACTION,
    )
    empty, single = rng.random() < _EMPTY_RATE, rng.random() < _SINGLE_RATE
    leading = int(rng.integers(len(DISPLAY_NAMES)))
    scene = sample_scene(
        config,
        seed,
        index,
        classes=(leading,),
        objects=0 if empty else 1 if single else 2,
        occluders=False,
    )
    closer = rng.random() < _CROP_RATE and bool(scene.instances)
    return _frame(scene, _choose_window(scene, rng) if closer else (0, 0, _SCENE_SIZE), size)


def _choose_window(scene: Scene, rng: Generator) -> Window:
    """A square around the objects, 0.7 to 1.5 times their extent, with a random shift."""
    boxes = np.array([one.box for one in scene.instances])
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = boxes[:, 2:].max(axis=0)
    side = int(max(bottom - top, right - left) * rng.uniform(0.7, 1.5)) + 6
    side = min(max(side, _SMALLEST_CROP), _SCENE_SIZE)
    shift_y, shift_x = rng.normal(0, 0.12, 2) * side
    y = int(np.clip((top + bottom) // 2 + shift_y - side // 2, 0, _SCENE_SIZE - side))
    x = int(np.clip((left + right) // 2 + shift_x - side // 2, 0, _SCENE_SIZE - side))
    return y, x, side


def _frame(scene: Scene, window: Window, size: int) -> Tile:
    """Crop image and maps to the window, measure the objects again, and resize the image."""
    y, x, side = window
    rows, columns = slice(y, y + side), slice(x, x + side)
    cut = replace(
        scene,
        class_map=scene.class_map[rows, columns],
        instance_map=scene.instance_map[rows, columns],
    )
    zoom = _SCENE_SIZE / side
    seen = visible_instances(cut.instance_map, scene.instances)
    image = cv2.resize(scene.image[rows, columns], (size, size), interpolation=cv2.INTER_AREA)
    return Tile(
        image=np.asarray(image, dtype=np.uint8),
        labels=cut.image_labels(),
        instances=tuple(replace(one, scale=one.scale * zoom) for one in seen),
        place=scene.place,
        stuff=visible_stuff(scene.stuff_map[rows, columns]),
    )
