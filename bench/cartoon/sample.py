"""Samples scenes of CartoonVOC: a pure function of (config, seed, index)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from bench.cartoon.drawing.canvas import Canvas, illuminate
from bench.cartoon.drawing.objects import Placement, draw_object
from bench.cartoon.drawing.scenes import draw_backdrop, draw_occluder
from bench.cartoon.vocabulary import (
    ATTRACTION,
    CLASS_PROBABILITIES,
    SCENE_NAMES,
    SCENES,
    STUFF,
    STUFF_IDS,
)
from bench.cartoon.world import Instance, Scene
from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from bench.cartoon.world import WorldConfig

_PERSON = VOC_CLASSES.index("person")
_BIRD = VOC_CLASSES.index("bird")
_AEROPLANE = VOC_CLASSES.index("aeroplane")
_STUFF_FRACTION = 0.01  # stuff counts as visible from this fraction of the frame on
_MAX_OBJECTS = 12


def sample_scene(
    config: WorldConfig,
    seed: int,
    index: int,
    *,
    classes: Sequence[int] = (),
    objects: int | None = None,
    occluders: bool = True,
) -> Scene:
    """One scene of CartoonVOC.

    Args:
        config: Size and difficulty.
        seed: Seed of the data set, not negative.
        index: Number of the scene, not negative.
        classes: 0-based classes of the first objects; the first one determines the place. If
            `objects` is larger, the classes of the others are drawn.
        objects: Number of objects; None draws it, 0 gives a scene without objects.
            `classes=(c,), objects=1` gives a scene with one object of class c.
        occluders: Whether trees and rocks may be drawn in front of objects.

    Returns:
        The scene with its label maps and instances.

    Raises:
        ValueError: If a class or the number of objects is out of range.
    """
    _check_request(classes, objects)
    rng = np.random.default_rng([seed, index])
    count = _count_objects(rng, config, len(classes), objects)
    leading = int(rng.choice(len(VOC_CLASSES), p=CLASS_PROBABILITIES))
    leading = classes[0] if classes else leading
    place = _choose_place(rng, leading, config.scene_mismatch_rate)
    kind = SCENES[place]
    horizon = rng.uniform(0.5, 0.75) if place == "indoor" else rng.uniform(0.3, 0.62)

    canvas = Canvas(config.size)
    draw_backdrop(canvas, rng, kind, horizon)
    chosen = [leading, *classes[1:]][:count]
    while len(chosen) < count:
        chosen.append(_choose_companion(rng, config, leading, SCENE_NAMES.index(place)))
    placements = [_place(rng, config, c, count, place, horizon) for c in chosen]
    placements.sort(key=lambda p: p.y + p.scale)  # nearer objects stand lower and are drawn later
    drawn = [_draw(canvas, rng, config, p, i + 1) for i, p in enumerate(placements)]
    if rng.random() < config.occluder_rate and place not in ("indoor", "sky") and drawn:
        # Drawn from its own stream, so that `occluders` changes nothing else in the picture.
        stream = np.random.default_rng([seed, index, 1])
        if occluders:
            draw_occluder(canvas, stream)
    image = _expose(canvas.image, rng, config)
    class_map, instance_map, stuff_map, part_map = cv2.split(canvas.labels)
    return Scene(
        image=image,
        class_map=class_map,
        instance_map=instance_map,
        stuff_map=stuff_map,
        part_map=part_map,
        instances=visible_instances(instance_map, drawn),
        place=place,
        stuff=visible_stuff(stuff_map),
        visible_fraction=config.visible_fraction,
    )


def visible_instances(
    instance_map: NDArray[np.uint8], drawn: Sequence[Instance]
) -> tuple[Instance, ...]:
    """The objects of `drawn` that are visible in `instance_map`, (H, W), measured in it."""
    measured = (_measure(instance_map == one.instance_id, one) for one in drawn)
    return tuple(one for one in measured if one is not None)


def visible_stuff(stuff_map: NDArray[np.uint8]) -> tuple[str, ...]:
    """Names of the stuff that covers at least 1 % of a stuff map, (H, W)."""
    counts = np.bincount(stuff_map.ravel(), minlength=len(STUFF) + 1)
    enough = _STUFF_FRACTION * stuff_map.size
    return tuple(name for name in STUFF if counts[STUFF_IDS[name]] >= enough)


def _check_request(classes: Sequence[int], objects: int | None) -> None:
    for c in classes:
        if not 0 <= c < len(VOC_CLASSES):
            raise ValueError(f"classes: expected 0 to {len(VOC_CLASSES) - 1}, got {c}")
    if objects is not None and not len(classes) <= objects <= _MAX_OBJECTS and objects != 0:
        raise ValueError(
            f"objects: expected 0 or {len(classes)} to {_MAX_OBJECTS} "
            f"(for {len(classes)} given classes), got {objects}"
        )


def _count_objects(rng: Generator, config: WorldConfig, given: int, objects: int | None) -> int:
    drawn = 1 + int(rng.choice(len(config.object_counts), p=config.object_counts))
    empty = rng.random() < config.background_only_rate
    if objects is not None:
        return objects
    return 0 if empty else max(drawn, given)


def _choose_place(rng: Generator, leading: int, mismatch_rate: float) -> str:
    if rng.random() < mismatch_rate:
        return SCENE_NAMES[rng.integers(len(SCENE_NAMES))]
    return SCENE_NAMES[rng.choice(len(SCENE_NAMES), p=_normalised(ATTRACTION[leading]))]


def _choose_companion(rng: Generator, config: WorldConfig, leading: int, place: int) -> int:
    """Class of a further object: the leading one, person, one that suits the place, or any."""
    if rng.random() < config.same_class_rate:
        return leading
    if rng.random() < config.person_rate:
        return _PERSON
    if rng.random() < config.scene_class_rate:
        return int(rng.choice(len(VOC_CLASSES), p=_normalised(ATTRACTION[:, place])))
    return int(rng.integers(len(VOC_CLASSES)))


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def _place(
    rng: Generator, config: WorldConfig, class_index: int, count: int, place: str, horizon: float
) -> Placement:
    """Random position and size: on the lower stuff; flying objects anywhere."""
    low, high = config.single_scale if count == 1 else config.shared_scale
    scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    x = rng.uniform(0.6 * scale, 1 - 0.6 * scale)
    if class_index == _AEROPLANE or (class_index == _BIRD and place == "sky"):
        y = rng.uniform(0.5 * scale, 1 - 0.5 * scale)
    else:
        foot = rng.uniform(horizon, 1.05) + 0.4 * (scale - 0.2)
        foot = min(1.12, max(horizon + 0.08, foot))
        y = max(foot - 0.85 * scale, 0.6 * scale)
    return Placement(class_index=class_index, x=x, y=y, scale=scale)


def _draw(
    canvas: Canvas, rng: Generator, config: WorldConfig, where: Placement, instance: int
) -> Instance:
    colour = draw_object(
        canvas, rng, where, instance=instance, typical_colour_rate=config.typical_colour_rate
    )
    if rng.random() < config.object_texture_rate:
        canvas.texture_instance(rng, instance, rng.uniform(*config.object_texture))
    area = int(np.count_nonzero(canvas.labels[..., 1] == instance))
    return Instance(
        instance_id=instance,
        class_index=where.class_index,
        colour=colour,
        scale=where.scale,
        centre=(where.x, where.y),
        box=(0, 0, 0, 0),
        visible_area=area,
        drawn_area=area,
        truncated=False,
    )


def _measure(visible: NDArray[np.bool_], drawn: Instance) -> Instance | None:
    """`drawn` measured on its visible pixels, (H, W) bool; None if there are none."""
    columns, rows = visible.sum(axis=0), visible.sum(axis=1)
    area = int(rows.sum())
    if area == 0:
        return None
    height, width = visible.shape
    xs, ys = np.flatnonzero(columns), np.flatnonzero(rows)
    left, right, top, bottom = int(xs[0]), int(xs[-1]) + 1, int(ys[0]), int(ys[-1]) + 1
    centre_x = float(columns @ (np.arange(width) + 0.5)) / area / width
    centre_y = float(rows @ (np.arange(height) + 0.5)) / area / height
    return Instance(
        instance_id=drawn.instance_id,
        class_index=drawn.class_index,
        colour=drawn.colour,
        scale=drawn.scale,
        centre=(centre_x, centre_y),
        box=(left, top, right, bottom),
        visible_area=area,
        drawn_area=max(area, drawn.drawn_area),
        truncated=left == 0 or top == 0 or right == width or bottom == height,
    )


def _expose(image: NDArray[np.uint8], rng: Generator, config: WorldConfig) -> NDArray[np.uint8]:
    """Apply light, noise and, in some images, a slight blur."""
    gain = max(0.6, rng.normal(1, config.gain_deviation))
    offset, noise = rng.normal(0, config.offset_deviation), rng.uniform(*config.noise)
    exposed = illuminate(image, rng, gain=gain, offset=offset, noise=noise)
    if rng.random() < config.blur_rate:
        return np.asarray(cv2.GaussianBlur(exposed, (3, 3), 0), dtype=np.uint8)
    return exposed
