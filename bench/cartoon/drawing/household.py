"""The six indoor classes of VOC as lists of parts, back to front."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing.shapes import Part, bar, ellipse, polygon, rectangle

if TYPE_CHECKING:
    from numpy.random import Generator


def bottle(rng: Generator) -> list[Part]:
    """Body, neck and cap in one silhouette, with a paper label."""
    u = rng.uniform
    width, neck, shoulder = u(0.24, 0.32), u(0.08, 0.12), u(-0.35, -0.1)
    low, high = shoulder + 0.15, shoulder - 0.15
    glass = polygon(
        *(-width, low, -neck, high, -neck, -0.85, neck, -0.85),
        *(neck, high, width, low, width, 0.95, -width, 0.95),
    )
    shine = bar(-width * 0.6, shoulder + 0.2, -width * 0.6, 0.9, 0.03)
    return [
        Part("body", "main", glass),
        Part("cap", "second", rectangle(-neck - 0.02, -0.98, neck + 0.02, -0.82)),
        Part("label", "light", rectangle(-width, shoulder + 0.3, width, u(0.5, 0.7))),
        Part("highlight", "light", shine),
    ]


def chair(rng: Generator) -> list[Part]:
    """Four legs, a seat, and a back of slats or of cushion."""
    half, seat = rng.uniform(0.35, 0.5), rng.uniform(-0.1, 0.15)
    legs = (
        (-half, seat, -half - 0.05, 0.95, 0.05),
        (half, seat, half + 0.05, 0.95, 0.05),
        (-half + 0.2, seat, -half + 0.18, 0.75, 0.04),
        (half + 0.2, seat - 0.1, half + 0.2, 0.75, 0.04),
    )
    parts = [Part("leg", "shade", bar(*leg)) for leg in legs]
    if rng.random() < 0.5:
        posts = [bar(x, -0.95, x, seat, 0.05) for x in (-half, half)]
        parts += [Part("back", "shade", post) for post in posts]
        heights = np.arange(-0.85, seat - 0.15, 0.25)
        parts += [Part("slat", "main", bar(-half, float(y), half, float(y), 0.06)) for y in heights]
    else:
        cushion = rectangle(-half + 0.1, -0.85, half - 0.1, seat - 0.2)
        parts += [
            Part("back", "main", rectangle(-half, -0.95, half, seat)),
            Part("cushion", "second", cushion),
        ]
    top = polygon(
        *(-half - 0.05, seat, half + 0.02, seat),
        *(half + 0.28, seat - 0.12, -half + 0.2, seat - 0.14),
    )
    return [
        *parts,
        Part("seat", "shade", top),
        Part("seat", "main", rectangle(-half - 0.07, seat - 0.02, half + 0.05, seat + 0.12)),
    ]


def diningtable(rng: Generator) -> list[Part]:
    """Rectangular on four legs or round on one, laid with two or three plates."""
    if rng.random() < 0.5:
        legs = (
            (-0.7, 0, -0.75, 0.85, 0.06),
            (0.7, 0, 0.75, 0.85, 0.06),
            (-0.4, -0.1, -0.4, 0.6, 0.05),
            (0.4, -0.1, 0.4, 0.6, 0.05),
        )
        parts = [
            *(Part("leg", "shade", bar(*leg)) for leg in legs),
            Part("top", "main", polygon(-0.95, 0.05, -0.65, -0.35, 0.65, -0.35, 0.95, 0.05)),
            Part("rim", "shade", rectangle(-0.95, 0.05, 0.95, 0.15)),
        ]
    else:
        parts = [
            Part("leg", "shade", bar(0, 0, 0, 0.75, 0.09)),
            Part("base", "shade", ellipse(0, 0.8, 0.4, 0.1)),
            Part("top", "main", ellipse(0, -0.1, 0.95, 0.32)),
            Part("top", "second", ellipse(0, -0.14, 0.88, 0.27)),
        ]
    for x in rng.choice([-0.5, -0.2, 0.1, 0.4], rng.integers(2, 4), replace=False):
        y = -0.15 + rng.uniform(-0.05, 0.05)
        parts.append(Part("dish", "light", ellipse(x, y, 0.15, 0.07)))
        parts.append(Part("dish", "second", ellipse(x, y, 0.08, 0.035)))
    if rng.random() < 0.4:
        parts.append(Part("stand", "wood", rectangle(-0.05, -0.5, 0.03, -0.15)))
    return parts


def pottedplant(rng: Generator) -> list[Part]:
    """A pot of pointed or round leaves, flowering in 40 %."""
    u = rng.uniform
    parts = []
    pointed = rng.random() < 0.5
    for _ in range(rng.integers(5, 10)):
        angle, length = u(-1.2, 1.2), u(0.4, 0.8)
        dx, dy = math.sin(angle) * length, math.cos(angle) * length
        if pointed:
            leaf = polygon(-0.05, 0.3, dx * 1.1 - 0.02, 0.3 - dy * 1.4, 0.05, 0.3)
        else:
            leaf = ellipse(dx * 0.6, 0.1 - dy * 0.8, 0.2, 0.14, angle)
        parts.append(Part("leaf", "leaf", leaf))
    if rng.random() < 0.4:
        flowers = [ellipse(u(-0.4, 0.4), u(-0.6, 0), 0.1, 0.1) for _ in range(3)]
        parts += [Part("flower", "second", flower) for flower in flowers]
    return [
        *parts,
        Part("pot", "main", polygon(-0.35, 0.3, 0.35, 0.3, 0.25, 0.95, -0.25, 0.95)),
        Part("rim", "shade", rectangle(-0.4, 0.25, 0.4, 0.4)),
    ]


def sofa(rng: Generator) -> list[Part]:
    """Two or three seats between two armrests, with a cushion in half of the draws."""
    back, seats = rng.uniform(-0.6, -0.45), int(rng.integers(2, 4))
    edges = np.linspace(-0.7, 0.7, seats + 1)
    parts = [
        Part("back", "main", rectangle(-0.8, back, 0.8, 0.3)),
        Part("foot", "dark", rectangle(-0.75, 0.6, -0.65, 0.75)),
        Part("foot", "dark", rectangle(0.65, 0.6, 0.75, 0.75)),
        Part("base", "shade", rectangle(-0.85, 0.25, 0.85, 0.62)),
    ]
    for left, right in pairwise(edges):
        parts += [
            Part("back", "shade", rectangle(left + 0.02, back + 0.1, right - 0.02, 0.1)),
            Part("seat", "main", rectangle(left + 0.01, 0.08, right - 0.01, 0.34)),
        ]
    for s in (-1, 1):
        arm = polygon(s * 0.98, -0.1, s * 0.7, -0.15, s * 0.7, 0.62, s * 0.98, 0.62)
        parts.append(Part("armrest", "main", arm))
    if rng.random() < 0.5:
        parts.append(Part("cushion", "second", rectangle(-0.6, -0.25, -0.3, 0.1)))
    return parts


def tvmonitor(rng: Generator) -> list[Part]:
    """A screen on a stand, dark-framed in 60 %, showing a picture in 60 %."""
    u = rng.uniform
    low = u(0.25, 0.5)
    frame = rectangle(-0.9, -0.75, 0.9, low + 0.05)
    parts = [
        Part("stand", "dark", rectangle(-0.1, low, 0.1, low + 0.25)),
        Part("base", "dark", rectangle(-0.4, low + 0.2, 0.4, low + 0.3)),
        Part("frame", "dark" if rng.random() < 0.6 else "main", frame),
        Part("screen", "light", rectangle(-0.8, -0.65, 0.8, low - 0.08)),
    ]
    if rng.random() < 0.6:
        blob = ellipse(u(-0.5, 0.5), u(-0.4, 0.1), u(0.1, 0.3), u(0.1, 0.2))
        parts += [
            Part("screen", "second", blob),
            Part("screen", "main", rectangle(-0.8, low - 0.3, 0.8, low - 0.08)),
        ]
    return parts
