"""Backdrops of the kinds of places; every region is drawn with its stuff id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing.canvas import jitter, stuff_label
from bench.cartoon.drawing.shapes import bar, ellipse, polygon, rectangle
from bench.cartoon.vocabulary import COLOUR_NAMES, COLOURS, STUFF_COLOURS

if TYPE_CHECKING:
    from numpy.random import Generator

    from bench.cartoon.drawing.canvas import Canvas, Colour
    from bench.cartoon.vocabulary import SceneKind

_PALETTE = np.array([COLOURS[name] for name in COLOUR_NAMES], dtype=np.float64)
_WHITE = np.array([240.0, 240.0, 245.0])


def draw_backdrop(canvas: Canvas, rng: Generator, kind: SceneKind, horizon: float) -> None:
    """Cover the whole canvas with the stuff of one kind of place.

    Args:
        canvas: Painted over completely.
        rng: Source of every choice.
        kind: The place.
        horizon: Height of the line between upper and lower stuff, fraction of the frame.
    """
    match kind.upper, kind.lower:
        case "sky", "sky":
            _draw_sky(canvas, rng)
        case "wall", "floor":
            _draw_room(canvas, rng, kind, horizon)
        case _:
            _draw_upper(canvas, rng, kind, horizon)
            _draw_lower(canvas, rng, kind, horizon)


def draw_occluder(canvas: Canvas, rng: Generator) -> None:
    """Draw a tree or a rock in the foreground, over the objects."""
    if rng.random() < 0.5:
        _tree(canvas, rng, rng.uniform(), 1.05, rng.uniform(0.4, 0.7))
    else:
        _rock(canvas, rng, rng.uniform(), rng.uniform(0.8, 1), rng.uniform(0.08, 0.18))


def _draw_sky(canvas: Canvas, rng: Generator) -> None:
    colour = _stuff_colour(rng, "sky")
    canvas.rows(0, canvas.size, colour, colour + 12, stuff_label("sky"))
    canvas.texture(rng, 0, canvas.size, 6)
    for _ in range(rng.integers(1, 5)):
        _cloud(canvas, rng, rng.uniform(0, 0.9), rng.uniform(0.08, 0.2))


def _draw_room(canvas: Canvas, rng: Generator, kind: SceneKind, horizon: float) -> None:
    row = int(horizon * canvas.size)
    wall = _stuff_colour(rng, "wall", 30)
    canvas.rows(0, row, wall, wall * 0.92, stuff_label("wall"))
    canvas.texture(rng, 0, row, rng.uniform(3, 12))
    floor = _stuff_colour(rng, "floor", 30)
    canvas.rows(row, canvas.size, floor, floor * 0.85, stuff_label("floor"))
    canvas.texture(rng, row, canvas.size, rng.uniform(4, 14))
    skirting = rectangle(0, horizon - 0.012, 1, horizon + 0.01)
    canvas.fill(skirting, floor * 0.6, stuff_label("wall"))
    if rng.random() < kind.rates["picture"]:
        for _ in range(rng.integers(1, 3)):
            _picture(canvas, rng)


def _draw_upper(canvas: Canvas, rng: Generator, kind: SceneKind, horizon: float) -> None:
    row, dense = int(horizon * canvas.size), kind.upper == "tree"
    colour = _stuff_colour(rng, kind.upper)
    canvas.rows(0, row, colour, colour * 1.08, stuff_label(kind.upper))
    canvas.texture(rng, 0, row, 16 if dense else 5)
    if _happens(rng, kind, "mountain"):
        for _ in range(3):
            _mountain(canvas, rng, horizon)
    if _happens(rng, kind, "building"):
        left = -0.1
        while left < 1:
            width = rng.uniform(0.15, 0.35)
            _building(canvas, rng, (left, horizon + 0.01), (width, rng.uniform(0.15, 0.45)))
            left += width + rng.uniform(0, 0.1)
    if _happens(rng, kind, "tree"):
        for _ in range(rng.integers(2, 6)):
            base = horizon + rng.uniform(0, 0.06)
            _tree(canvas, rng, rng.uniform(), base, rng.uniform(0.2, 0.5))
    if _happens(rng, kind, "cloud"):
        _cloud(canvas, rng, rng.uniform(0, 0.25), rng.uniform(0.06, 0.12))


def _draw_lower(canvas: Canvas, rng: Generator, kind: SceneKind, horizon: float) -> None:
    row, label = int(horizon * canvas.size), stuff_label(kind.lower)
    colour = _stuff_colour(rng, kind.lower)
    canvas.rows(row, canvas.size, colour * 0.95, colour * 1.05, label)
    canvas.texture(rng, row, canvas.size, rng.uniform(6, 14))
    match kind.lower:
        case "water":
            for _ in range(rng.integers(4, 10)):
                x, y, length = rng.uniform(), rng.uniform(horizon, 1), rng.uniform(0.05, 0.2)
                glint = np.clip(colour + rng.uniform(15, 45), 0, 255)
                canvas.fill(bar(x, y, x + length, y, 0.006), glint, label)
        case "road":
            x = rng.uniform(0.3, 0.7)
            for y in np.linspace(horizon + 0.03, 0.97, 4):
                dash = rectangle(x - 0.02, float(y), x + 0.02, float(y) + 0.06)
                canvas.fill(dash, np.array([225.0, 225.0, 210.0]), label)
        case "railway":
            _rails(canvas, rng.uniform(max(horizon + 0.1, 0.7), 0.9))
    if _happens(rng, kind, "rock"):
        for _ in range(rng.integers(1, 3)):
            _rock(canvas, rng, rng.uniform(), rng.uniform(horizon, 1), rng.uniform(0.05, 0.12))
    if _happens(rng, kind, "sign"):
        _sign(canvas, rng, rng.uniform(horizon + 0.05, 0.9), rng.uniform(0.2, 0.4))


def _happens(rng: Generator, kind: SceneKind, stuff: str) -> bool:
    """Whether optional stuff is added; takes a number from `rng` in any case."""
    return bool(rng.random() < kind.rates.get(stuff, 0.0))


def _stuff_colour(rng: Generator, name: str, amount: float = 16) -> Colour:
    return jitter(rng, STUFF_COLOURS[name], amount)


def _cloud(canvas: Canvas, rng: Generator, y: float, height: float) -> None:
    x, label = rng.uniform(), stuff_label("cloud")
    for _ in range(3):
        cx, cy = x + rng.uniform(-1, 1) * height, y + rng.uniform(-0.2, 0.2) * height
        canvas.fill(ellipse(cx, cy, height * rng.uniform(0.6, 1.1), height * 0.4), _WHITE, label)


def _mountain(canvas: Canvas, rng: Generator, horizon: float) -> None:
    x, half = rng.uniform(), rng.uniform(0.25, 0.5)
    peak = polygon(x - half, horizon, x, horizon - rng.uniform(0.15, 0.4), x + half, horizon)
    canvas.fill(peak, _stuff_colour(rng, "mountain"), stuff_label("mountain"))


def _tree(canvas: Canvas, rng: Generator, x: float, y: float, height: float) -> None:
    label, green = stuff_label("tree"), jitter(rng, (45, 100, 45), 25)
    trunk = bar(x, y, x, y - height * 0.5, 0.08 * height)
    canvas.fill(trunk, jitter(rng, (90, 60, 35), 12), label)
    for _ in range(3):
        cx = x + rng.uniform(-0.15, 0.15) * height
        cy = y - rng.uniform(0.5, 0.85) * height
        crown = np.clip(green + rng.normal(0, 10), 0, 255)
        canvas.fill(ellipse(cx, cy, 0.28 * height, 0.24 * height), crown, label)


def _building(
    canvas: Canvas, rng: Generator, base: tuple[float, float], extent: tuple[float, float]
) -> None:
    (left, bottom), (width, height) = base, extent
    label, colour = stuff_label("building"), _stuff_colour(rng, "building", 35)
    canvas.fill(rectangle(left, bottom - height, left + width, bottom), colour, label)
    columns, floors = int(rng.integers(2, 4)), int(rng.integers(2, 5))
    for i in range(columns):
        x0, x1 = left + width * (i + 0.25) / columns, left + width * (i + 0.7) / columns
        for j in range(floors):
            y0, y1 = bottom - height * (j + 0.7) / floors, bottom - height * (j + 0.25) / floors
            canvas.fill(rectangle(x0, y0, x1, y1), colour * 0.55, label)


def _rails(canvas: Canvas, y: float) -> None:
    label = stuff_label("railway")
    wood, steel = np.array([80.0, 60.0, 45.0]), np.array([170.0, 170.0, 175.0])
    for x in np.arange(0, 1, 0.11):
        sleeper = polygon(x, y - 0.05, x + 0.05, y - 0.05, x + 0.04, y + 0.09, x - 0.01, y + 0.09)
        canvas.fill(sleeper, wood, label)
    for offset in (-0.03, 0.06):
        canvas.fill(rectangle(0, y + offset - 0.009, 1, y + offset + 0.009), steel, label)


def _rock(canvas: Canvas, rng: Generator, x: float, y: float, radius: float) -> None:
    outline = ellipse(x, y, radius, radius * 0.6) * (1 + rng.normal(0, 0.01, (16, 2)))
    canvas.fill(outline, jitter(rng, (115, 110, 105), 15), stuff_label("rock"))


def _sign(canvas: Canvas, rng: Generator, y: float, height: float) -> None:
    x, label = rng.uniform(), stuff_label("sign")
    post = bar(x, y, x, y - height, 0.03 * height + 0.004)
    canvas.fill(post, np.array([90.0, 90.0, 90.0]), label)
    board = rectangle(x - 0.25 * height, y - height * 1.1, x + 0.25 * height, y - height * 0.65)
    canvas.fill(board, jitter(rng, _PALETTE[rng.integers(len(_PALETTE))], 18), label)


def _picture(canvas: Canvas, rng: Generator) -> None:
    label = stuff_label("picture")
    x, y = rng.uniform(0, 0.8), rng.uniform(0.05, 0.35)
    width, height = rng.uniform(0.1, 0.25), rng.uniform(0.1, 0.28)
    frame = _PALETTE[rng.integers(len(_PALETTE))] * 0.6 + 40
    canvas.fill(rectangle(x, y, x + width, y + height), frame, label)
    inner = rectangle(x + 0.02, y + 0.02, x + width - 0.02, y + height - 0.02)
    canvas.fill(inner, jitter(rng, (200, 215, 225), 25), label)
