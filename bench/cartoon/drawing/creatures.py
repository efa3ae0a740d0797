"""Birds, fish and other animals that are not VOC classes, as lists of parts, back to front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing.shapes import Part, bar, ellipse, polygon

if TYPE_CHECKING:
    from numpy.random import Generator


def waterfowl(rng: Generator, *, long_neck: bool) -> list[Part]:
    """A duck or a swan, swimming."""
    top = rng.uniform(-0.8, -0.65) if long_neck else rng.uniform(-0.4, -0.3)
    parts = [
        Part("tail", "shade", polygon(-0.6, 0.2, -0.98, -0.15, -0.5, 0.0)),
        Part("body", "main", ellipse(-0.1, 0.3, 0.65, 0.34)),
        Part("neck", "main", bar(0.38, 0.25, 0.42, top, 0.11, 0.09)),
        Part("head", "main" if long_neck else "leaf", ellipse(0.46, top, 0.19, 0.16)),
        Part("beak", "beak", polygon(0.6, top - 0.06, 0.92, top + 0.06, 0.6, top + 0.1)),
        Part("wing", "shade", ellipse(-0.2, 0.25, 0.4, 0.18, -0.2)),
    ]
    return [*parts, Part("eye", "dark", ellipse(0.52, top - 0.04, 0.03, 0.03))]


def upright_bird(rng: Generator, *, ear_tufts: bool) -> list[Part]:
    """An owl (with tufts) or a penguin."""
    u = rng.uniform
    side = u(0.38, 0.46)
    parts = [Part("foot", "beak", ellipse(s * 0.18, 0.93, 0.16, 0.06)) for s in (-1, 1)]
    parts.append(Part("body", "main" if ear_tufts else "dark", ellipse(0, 0.25, side, 0.68)))
    for s in (-1, 1):
        wing = ellipse(s * side, 0.25, 0.12, 0.45, s * -0.2)
        parts.append(Part("wing", "shade" if ear_tufts else "dark", wing))
    parts.append(Part("marking", "light", ellipse(0, 0.38, side * 0.65, 0.5)))
    if not ear_tufts:
        return [
            *parts,
            Part("head", "dark", ellipse(0, -0.5, 0.27, 0.26)),
            Part("eye", "light", ellipse(0.08, -0.55, 0.05, 0.05)),
            Part("beak", "beak", polygon(0.15, -0.55, 0.48, -0.45, 0.15, -0.4)),
            Part("collar", "main", bar(-0.22, -0.25, 0.22, -0.25, 0.07)),
        ]
    for s in (-1, 1):
        tuft = polygon(s * 0.4, -0.5, s * 0.38, -0.98, s * 0.1, -0.65)
        parts.append(Part("ear", "main", tuft))
    parts.append(Part("head", "main", ellipse(0, -0.45, 0.42, 0.34)))
    for s in (-1, 1):
        parts.append(Part("eye", "yellow", ellipse(s * 0.18, -0.48, 0.15, 0.15)))
        parts.append(Part("eye", "dark", ellipse(s * 0.18, -0.48, 0.07, 0.07)))
    return [*parts, Part("beak", "beak", polygon(-0.06, -0.38, 0.06, -0.38, 0, -0.2))]


def rooster(rng: Generator) -> list[Part]:
    """A comb, a wattle and an arched tail."""
    feathers = [ellipse(-0.6, -0.15 - 0.12 * k, 0.38, 0.09, 0.5 + 0.3 * k) for k in range(3)]
    return [
        *(Part("leg", "yellow", bar(s, 0.5, s, 0.95, 0.03)) for s in (-0.05, 0.15)),
        *(Part("tail", "second", feather) for feather in feathers),
        Part("body", "main", ellipse(0, 0.22, 0.5, 0.38, -0.3)),
        Part("neck", "main", polygon(0.15, 0.1, 0.3, -0.5, 0.55, -0.45, 0.5, 0.25)),
        Part("head", "main", ellipse(0.43, -0.5, 0.19, 0.18)),
        *(Part("marking", "red", ellipse(x, -0.72, 0.09, 0.12)) for x in (0.3, 0.43, 0.55)),
        Part("marking", "red", ellipse(0.55, -0.28, 0.07, 0.14)),
        Part("beak", "yellow", polygon(0.58, -0.55, 0.85, -0.46, 0.58, -0.4)),
        Part("eye", "dark", ellipse(0.48, -0.54, 0.04, 0.04)),
        Part("wing", "shade", ellipse(-0.08, rng.uniform(0.2, 0.3), 0.28, 0.17, -0.3)),
    ]


def fish(rng: Generator) -> list[Part]:
    """Fins, scales and a forked tail."""
    high = rng.uniform(0.3, 0.48)
    return [
        Part("tail", "shade", polygon(-0.5, 0, -0.98, -0.45, -0.8, 0, -0.98, 0.45)),
        Part("wing", "second", polygon(-0.25, -high + 0.1, 0, -high - 0.3, 0.3, -high + 0.12)),
        Part("wing", "second", polygon(-0.1, high - 0.1, 0, high + 0.22, 0.2, high - 0.12)),
        Part("body", "main", ellipse(0.12, 0, 0.72, high)),
        *(
            Part("marking", "shade", bar(x, -high * 0.7, x, high * 0.7, 0.03))
            for x in (-0.2, 0, 0.2)
        ),
        Part("eye", "light", ellipse(0.52, -0.1, 0.1, 0.1)),
        Part("eye", "dark", ellipse(0.54, -0.1, 0.05, 0.05)),
        Part("mouth", "dark", bar(0.7, 0.12, 0.82, 0.08, 0.02)),
    ]


def whale(rng: Generator) -> list[Part]:
    """A big head, a small fluke, a spout."""
    jet = rng.uniform(-0.9, -0.75)
    return [
        Part("smoke", "light", bar(0.3, -0.4, 0.3, jet, 0.04)),
        *(Part("smoke", "light", ellipse(0.3 + s * 0.14, jet, 0.15, 0.08)) for s in (-1, 1)),
        Part(
            "tail",
            "main",
            polygon(-0.5, 0.15, -0.9, -0.1, -0.98, -0.5, -0.7, -0.3, -0.6, -0.55, -0.3, 0),
        ),
        Part("body", "main", ellipse(0.15, 0.15, 0.8, 0.48)),
        Part("marking", "light", ellipse(0.25, 0.42, 0.58, 0.18)),
        Part("wing", "shade", polygon(0.1, 0.3, -0.15, 0.75, 0.3, 0.45)),
        Part("eye", "dark", ellipse(0.62, 0.08, 0.05, 0.05)),
    ]


def turtle(rng: Generator) -> list[Part]:
    """A domed shell of plates."""
    plates = [(-0.35, 0.0), (0.0, -0.15), (0.35, 0.0)]
    return [
        *(Part("leg", "leaf", ellipse(x, 0.55, 0.17, 0.22)) for x in (-0.5, 0.45)),
        Part("tail", "leaf", polygon(-0.7, 0.35, -0.95, 0.5, -0.65, 0.5)),
        Part("head", "leaf", ellipse(0.82, rng.uniform(0.05, 0.25), 0.2, 0.16)),
        Part("eye", "dark", ellipse(0.88, 0.12, 0.035, 0.035)),
        Part(
            "body",
            "main",
            polygon(-0.8, 0.45, -0.62, -0.1, -0.2, -0.42, 0.2, -0.42, 0.6, -0.1, 0.75, 0.45),
        ),
        *(Part("marking", "shade", ellipse(x, y, 0.15, 0.14)) for x, y in plates),
        Part("rim", "shade", bar(-0.82, 0.45, 0.78, 0.45, 0.07)),
    ]


def butterfly(rng: Generator) -> list[Part]:
    """Four wings with an eye on each."""
    wide = rng.uniform(0.42, 0.52)
    parts = []
    for s in (-1, 1):
        parts += [
            Part("wing", "main", ellipse(s * 0.48, -0.32, wide, 0.4, s * -0.5)),
            Part("wing", "shade", ellipse(s * 0.4, 0.42, wide * 0.75, 0.32, s * 0.5)),
            Part("marking", "second", ellipse(s * 0.55, -0.35, 0.16, 0.16)),
            Part("marking", "light", ellipse(s * 0.42, 0.42, 0.11, 0.11)),
            Part("horn", "dark", bar(0, -0.5, s * 0.25, -0.92, 0.02)),
        ]
    return [*parts, Part("body", "dark", ellipse(0, 0, 0.08, 0.6))]


def snake(rng: Generator) -> list[Part]:
    """A wave with a forked tongue."""
    phase = rng.uniform(0, 1.5)
    xs = np.linspace(-0.9, 0.6, 11)
    ys = [0.35 * math.sin(4.5 * x + phase) + 0.15 for x in xs]
    points = list(zip(xs, ys, strict=True))
    parts = [
        Part("body", "main", bar(*points[k], *points[k + 1], 0.11)) for k in range(len(points) - 1)
    ]
    parts += [Part("marking", "second", ellipse(x, y, 0.09, 0.09)) for x, y in points[1::2]]
    x, y = points[-1]
    return [
        *parts,
        Part("tongue", "red", bar(x + 0.15, y, x + 0.38, y, 0.02)),
        Part("head", "main", ellipse(x + 0.1, y, 0.2, 0.15)),
        Part("eye", "dark", ellipse(x + 0.15, y - 0.05, 0.04, 0.04)),
    ]


def frog(rng: Generator) -> list[Part]:
    """Squatting, with eyes on top."""
    wide = rng.uniform(0.5, 0.6)
    parts = [Part("leg", "shade", ellipse(s * 0.6, 0.45, 0.3, 0.24, s * 0.6)) for s in (-1, 1)]
    parts += [Part("foot", "shade", ellipse(s * 0.68, 0.75, 0.26, 0.08)) for s in (-1, 1)]
    parts.append(Part("body", "main", ellipse(0, 0.3, wide, 0.45)))
    parts.append(Part("marking", "light", ellipse(0, 0.48, wide * 0.6, 0.24)))
    parts.append(Part("head", "main", ellipse(0, -0.15, wide, 0.3)))
    for s in (-1, 1):
        parts.append(Part("eye", "main", ellipse(s * 0.3, -0.42, 0.17, 0.17)))
        parts.append(Part("eye", "yellow", ellipse(s * 0.3, -0.43, 0.11, 0.11)))
        parts.append(Part("eye", "dark", ellipse(s * 0.3, -0.43, 0.05, 0.06)))
    return [*parts, Part("mouth", "dark", bar(-0.3, -0.06, 0.3, -0.06, 0.02))]
