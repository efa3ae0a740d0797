"""Samples scenes of CartoonVOC: a pure function of (config, seed, index).

Scenes have objects of VOC's classes, and optionally objects of no class, in the styles of the style
distance. `bench/cartoon/pretraining/web.py` samples the pretraining images of CLIP and backbone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from bench.cartoon.drawing.canvas import Canvas, illuminate
from bench.cartoon.drawing.objects import TILT, TILT_IN_AIR, mix_paints, pose
from bench.cartoon.drawing.scenes import draw_backdrop, draw_occluder
from bench.cartoon.kinds import ATTRACTION, CLASS_COUNT, KINDS, PLACE_NAMES, VOC_FREQUENCY
from bench.cartoon.styles import finish, shade, style_of
from bench.cartoon.vocabulary import COLOUR_NAMES, PART_IDS, SCENES, STUFF, STUFF_IDS
from bench.cartoon.world import Instance, Scene, Thing, WorldConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from bench.cartoon.drawing.shapes import Part
    from bench.cartoon.styles import Style

_PERSON = 14
_NAMED_FRACTION = 0.008  # smallest fraction of the image with which an object can be named
_OCCLUDER_STREAM = 1  # separate, so that `occluders` changes nothing else in the image
_STUFF_FRACTION = 0.01  # stuff counts as visible from this fraction of the frame on
_MAX_OBJECTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placement:
    kind: int
    x: float
    y: float
    scale: float


def sample_scene(
    config: WorldConfig,
    seed: int,
    index: int,
    *,
    classes: Sequence[int] = (),
    objects: int | None = None,
    occluders: bool = True,
    train: bool = False,
) -> Scene:
    """One scene of CartoonVOC.

    Args:
        config: Size and difficulty.
        seed: Seed of the data set, not negative.
        index: Number of the scene, not negative.
        classes: 0-based classes of the first objects; the first one determines the place. If
            `objects` is larger, the classes of the others are drawn.
        objects: Number of objects; None draws it, 0 gives a scene without objects of a class.
            `classes=(c,), objects=1` gives a scene with one object of class c.
        occluders: Whether trees and rocks may be drawn in front of objects.
        train: Whether the scene is a training image; then no class of `config.untrained` is drawn.

    Returns:
        The scene with its label maps and instances.

    Raises:
        ValueError: If a class or the number of objects is out of range.
    """
    _check_request(classes, objects)
    rng = np.random.default_rng([seed, index])
    frequency = VOC_FREQUENCY.copy()
    frequency[list(config.untrained) if train else []] = 0
    frequency /= frequency.sum()
    count = 1 + int(rng.choice(len(config.object_counts), p=config.object_counts))
    count = max(count, len(classes)) if objects is None else objects
    leading = int(rng.choice(CLASS_COUNT, p=frequency))
    leading = classes[0] if classes else leading
    place = choose_place(rng, leading, config.scene_mismatch_rate)
    chosen = [leading, *classes[1:]][:count]
    while len(chosen) < count:
        chosen.append(_companion(rng, config, leading, place, frequency))
    unnamed = min(int(rng.poisson(config.unnamed_objects)), 6)
    chosen += [_thing_at(rng, config, place) for _ in range(unnamed)]
    style = style_of(rng, config.style_distance)
    stream = np.random.default_rng([seed, index, _OCCLUDER_STREAM])
    return compose(config, rng, chosen, place, style, stream if occluders else None)


def compose(
    config: WorldConfig,
    rng: Generator,
    chosen: Sequence[int],
    place: int,
    style: Style,
    occluding: Generator | None,
    *,
    void_unnamed: bool = True,
) -> Scene:
    """Draw objects of given kinds at a place, and return the scene with its labels.

    Args:
        config: Settings of the data set.
        rng: Source of all other random choices.
        chosen: Kinds of the objects, as indices of `KINDS`.
        place: Index of `PLACE_NAMES`.
        style: The drawing style.
        occluding: Random generator of a tree or rock in front; None for no occluder.
        void_unnamed: Whether objects of no class are left out of the instances.
    """
    name = PLACE_NAMES[place]
    horizon = rng.uniform(0.5, 0.75) if name == "indoor" else rng.uniform(0.3, 0.62)
    canvas = Canvas(config.size)
    draw_backdrop(canvas, rng, SCENES[name], horizon)
    placements = [_place(rng, config, kind, len(chosen), name, horizon) for kind in chosen]
    placements.sort(key=lambda p: p.y + p.scale)  # nearer objects stand lower and are drawn later
    drawn = [_draw(canvas, rng, config, p, i + 1, style) for i, p in enumerate(placements)]
    if (
        rng.random() < config.occluder_rate
        and name not in ("indoor", "sky")
        and drawn
        and occluding
    ):
        draw_occluder(canvas, occluding)
    image = finish(canvas.image, rng, style)
    gain = max(0.6, rng.normal(1, config.gain_deviation))
    offset, noise = rng.normal(0, config.offset_deviation), rng.uniform(*config.noise)
    image = illuminate(image, rng, gain=gain, offset=offset, noise=noise)
    if rng.random() < config.blur_rate:
        image = np.asarray(cv2.GaussianBlur(image, (3, 3), 0), dtype=np.uint8)
    class_map, instance_map, stuff_map, part_map = cv2.split(canvas.labels)
    seen = visible_instances(instance_map, drawn)
    things = named_things(seen, config.size)
    if void_unnamed:
        seen = tuple(one for one in seen if one.class_index < CLASS_COUNT)
        instance_map = _renumbered(instance_map, seen)
        seen = tuple(replace(one, instance_id=i) for i, one in enumerate(seen, start=1))
    return Scene(
        image=image,
        class_map=class_map,
        instance_map=instance_map,
        stuff_map=stuff_map,
        part_map=part_map,
        instances=seen,
        place=name,
        stuff=visible_stuff(stuff_map),
        visible_fraction=config.visible_fraction,
        things=things,
        weather=style.weather,
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
        if not 0 <= c < CLASS_COUNT:
            raise ValueError(f"classes: expected 0 to {CLASS_COUNT - 1}, got {c}")
    if objects is not None and not len(classes) <= objects <= _MAX_OBJECTS and objects != 0:
        raise ValueError(
            f"objects: expected 0 or {len(classes)} to {_MAX_OBJECTS} "
            f"(for {len(classes)} given classes), got {objects}"
        )


def named_things(seen: Sequence[Instance], size: int) -> tuple[Thing, ...]:
    """The visible instances that a caption may name; `size` is the side of the image in pixels."""
    things = (
        Thing(
            kind=one.class_index,
            colour=one.colour,
            scale=one.scale,
            x=one.centre[0],
            area=one.visible_area / size**2,
        )
        for one in seen
    )
    return tuple(thing for thing in things if thing.area >= _NAMED_FRACTION)


def _renumbered(instance_map: NDArray[np.uint8], seen: Sequence[Instance]) -> NDArray[np.uint8]:
    """The instance map with the instances of `seen` as 1, 2, ... and 0 elsewhere."""
    table = np.zeros(256, dtype=np.uint8)
    for i, one in enumerate(seen, start=1):
        table[one.instance_id] = i
    return table[instance_map]


def choose_place(rng: Generator, kind: int, untypical: float) -> int:
    """Index of a place that suits a kind, or, with probability `untypical`, of any place."""
    if rng.random() < untypical:
        return int(rng.integers(len(PLACE_NAMES)))
    weights = ATTRACTION[kind]
    return int(rng.choice(len(PLACE_NAMES), p=weights / weights.sum()))


def _companion(
    rng: Generator,
    config: WorldConfig,
    leading: int,
    place: int,
    frequency: NDArray[np.float64],
) -> int:
    """Class of a further object: the leading one, person, one that suits the place, or any."""
    if rng.random() < config.same_class_rate:
        return leading
    if rng.random() < config.person_rate and frequency[_PERSON]:
        return _PERSON
    weights = ATTRACTION[:CLASS_COUNT, place] * frequency
    if rng.random() < config.scene_class_rate and weights.any():
        return int(rng.choice(CLASS_COUNT, p=weights / weights.sum()))
    return int(rng.choice(CLASS_COUNT, p=frequency))


def _thing_at(rng: Generator, config: WorldConfig, place: int) -> int:
    """A kind that is no class: one that suits the place, or (`scene_mismatch_rate`) any."""
    weights = ATTRACTION[CLASS_COUNT:, place]
    if rng.random() < config.scene_mismatch_rate or not weights.any():
        return CLASS_COUNT + int(rng.integers(len(weights)))
    return CLASS_COUNT + int(rng.choice(len(weights), p=weights / weights.sum()))


def _place(
    rng: Generator, config: WorldConfig, kind: int, count: int, place: str, horizon: float
) -> _Placement:
    low, high = config.single_scale if count == 1 else config.shared_scale
    scale = math.exp(rng.uniform(math.log(low), math.log(high))) * config.object_size
    x = rng.uniform(0.6 * scale, 1 - 0.6 * scale)
    airborne = KINDS[kind].flies and (place == "sky" or KINDS[kind].name != "bird")
    if airborne or place == "sky":
        y = rng.uniform(0.5 * scale, 1 - 0.5 * scale)
    else:
        foot = rng.uniform(horizon, 1.05) + 0.4 * (scale - 0.2)
        foot = min(1.12, max(horizon + 0.08, foot))
        y = max(foot - 0.85 * scale, 0.6 * scale)
    return _Placement(kind=kind, x=x, y=y, scale=scale)


def _draw(
    canvas: Canvas,
    rng: Generator,
    config: WorldConfig,
    where: _Placement,
    instance: int,
    style: Style,
) -> Instance:
    kind = KINDS[where.kind]
    parts = kind.draw(rng)
    typical = rng.random() < config.typical_colour_rate
    choices = kind.colours if typical else COLOUR_NAMES
    colour = choices[rng.integers(len(choices))]
    paints = mix_paints(rng, colour)
    turn = pose(rng, where.scale, TILT_IN_AIR if kind.name == "aeroplane" else TILT)
    shift = np.array([where.x, where.y])
    shown = where.kind + 1 if where.kind < CLASS_COUNT else 0
    for part in parts:
        _paint(canvas, rng, part, (turn, shift, where.scale), paints[part.paint], style,
               (shown, instance, 0, PART_IDS[part.name]))  # fmt: skip
    inside = canvas.labels[..., 1] == instance
    shade(canvas.image, inside, style.shading)
    if rng.random() < config.object_texture_rate:
        amplitude = rng.uniform(*config.object_texture) * style.texture
        canvas.texture_instance(rng, instance, amplitude)
    area = int(np.count_nonzero(inside))
    named = any(part.paint == "main" for part in parts)
    return Instance(
        instance_id=instance,
        class_index=where.kind,
        colour=colour if named else None,
        scale=where.scale,
        centre=(where.x, where.y),
        box=(0, 0, 0, 0),
        visible_area=area,
        drawn_area=area,
        truncated=False,
    )


def _paint(
    canvas: Canvas,
    rng: Generator,
    part: Part,
    frame: tuple[NDArray[np.float64], NDArray[np.float64], float],
    paint: NDArray[np.float64],
    style: Style,
    label: tuple[int, int, int, int],
) -> None:
    """Fill a part and, if the style has outlines, draw its outline."""
    turn, shift, scale = frame
    corners = part.outline
    if style.wobble:
        corners = corners + rng.normal(0, style.wobble, corners.shape)
    outline = corners @ turn + shift
    if part.stroke:
        canvas.stroke(outline, 2 * part.stroke * scale, paint, label)
        return
    canvas.fill(outline, paint, label)
    if style.outline:
        line = {"dark": np.full(3, 30.0), "light": np.full(3, 240.0), "own": paint * 0.55}
        canvas.line(outline, style.outline, line[style.line])


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
