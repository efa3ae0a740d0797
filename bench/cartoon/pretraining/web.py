"""Samples pretraining images of CLIP and backbone: objects of every kind in pretraining styles.

Each image is a pure function of (config, seed, index).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from bench.cartoon.kinds import ATTRACTION, CLASS_COUNT, KINDS
from bench.cartoon.sample import (
    choose_place,
    compose,
    named_things,
    visible_instances,
    visible_stuff,
)
from bench.cartoon.styles import style_of

if TYPE_CHECKING:
    from numpy.random import Generator

    from bench.cartoon.world import Scene, WorldConfig

_CLASS_WEIGHT = 2.0  # VOC's classes are common words: twice as frequent as others
_UNTYPICAL = 0.3
_TILE_SCENE, _SMALLEST_CROP = 96, 40
_WEB_STREAM, _TILE_STREAM = 4, 5


def sample_web(config: WorldConfig, seed: int, index: int) -> Scene:
    """One pretraining scene: one to four objects of any kind, in a pretraining style."""
    rng = np.random.default_rng([seed, index, _WEB_STREAM])
    count = 1 + int(rng.choice(4, p=(0.45, 0.33, 0.14, 0.08)))
    return _web_scene(config, rng, count)


def sample_web_tile(config: WorldConfig, seed: int, index: int, *, size: int = 64) -> Scene:
    """One small crop of a pretraining scene with no object (8 %), one object or two."""
    rng = np.random.default_rng([seed, index, _TILE_STREAM])
    small = replace(config, size=_TILE_SCENE)
    count = int(rng.choice(3, p=(0.08, 0.77, 0.15)))
    scene = _web_scene(small, rng, count, occluders=False)
    closer = rng.random() < 0.7 and bool(scene.things)
    window = _choose_window(scene, rng) if closer else (0, 0, _TILE_SCENE)
    return _frame(scene, window, size)


def _web_scene(config: WorldConfig, rng: Generator, count: int, *, occluders: bool = True) -> Scene:
    weights = np.where(np.arange(len(KINDS)) < CLASS_COUNT, _CLASS_WEIGHT, 1.0)
    leading = int(rng.choice(len(KINDS), p=weights / weights.sum()))
    place = choose_place(rng, leading, _UNTYPICAL)
    chosen = [leading] * min(count, 1)
    while len(chosen) < count:
        suited = weights * (ATTRACTION[:, place] + 0.15)
        same = rng.random() < 0.15
        other = int(rng.choice(len(KINDS), p=suited / suited.sum()))
        chosen.append(leading if same else other)
    style = style_of(rng, 0.0)
    stream = np.random.default_rng(rng.integers(1 << 32)) if occluders else None
    return compose(config, rng, chosen, place, style, stream, void_unnamed=False)


def _choose_window(scene: Scene, rng: Generator) -> tuple[int, int, int]:
    """Top, left and side of a square around the objects, 0.7 to 1.5 times their extent."""
    boxes = np.array([one.box for one in scene.instances])
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = boxes[:, 2:].max(axis=0)
    side = int(max(bottom - top, right - left) * rng.uniform(0.7, 1.5)) + 6
    side = min(max(side, _SMALLEST_CROP), _TILE_SCENE)
    shift_y, shift_x = rng.normal(0, 0.12, 2) * side
    y = int(np.clip((top + bottom) // 2 + shift_y - side // 2, 0, _TILE_SCENE - side))
    x = int(np.clip((left + right) // 2 + shift_x - side // 2, 0, _TILE_SCENE - side))
    return y, x, side


def _frame(scene: Scene, window: tuple[int, int, int], size: int) -> Scene:
    """Crop image and maps to the window, measure the objects again, and resize the image."""
    y, x, side = window
    rows, columns = slice(y, y + side), slice(x, x + side)
    instance_map = scene.instance_map[rows, columns]
    zoom = _TILE_SCENE / side
    seen = tuple(
        replace(one, scale=one.scale * zoom)
        for one in visible_instances(instance_map, scene.instances)
    )
    image = cv2.resize(scene.image[rows, columns], (size, size), interpolation=cv2.INTER_AREA)
    things = tuple(thing for thing in named_things(seen, side) if thing.area >= 0.03)
    return replace(
        scene,
        image=np.asarray(image, dtype=np.uint8),
        class_map=scene.class_map[rows, columns],
        instance_map=instance_map,
        stuff_map=scene.stuff_map[rows, columns],
        part_map=scene.part_map[rows, columns],
        instances=seen,
        stuff=visible_stuff(scene.stuff_map[rows, columns]),
        things=things,
    )
