"""The six animals of VOC and the person as lists of parts, back to front, facing right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing.shapes import Part, bar, ellipse, polygon, rectangle

if TYPE_CHECKING:
    from numpy.random import Generator

    from bench.cartoon.drawing.shapes import Paint


def bird(rng: Generator) -> list[Part]:
    """Flying (45 %) or standing."""
    u = rng.uniform
    flies = rng.random() < 0.45
    x, y = 0.5, -0.35
    beak = polygon(x + 0.16, y - 0.08, x + u(0.38, 0.5), y + 0.03, x + 0.16, y + 0.1)
    parts = [
        Part("tail", "shade", polygon(-0.45, 0, -0.98, u(-0.1, 0.3), -0.9, 0.32, -0.3, 0.2)),
        Part("body", "main", ellipse(0, 0.05, 0.55, u(0.26, 0.36), -0.25)),
        Part("head", "main", ellipse(x, y, 0.22, 0.2)),
        Part("beak", "beak", beak),
        Part("eye", "dark", ellipse(x + 0.06, y - 0.05, 0.05, 0.05)),
    ]
    if flies:
        tips = (-u(0.5, 0.7), -u(0.75, 0.98), 0.1, -u(0.5, 0.6))
        return [*parts, Part("wing", "second", polygon(-0.2, -0.05, *tips, 0.25, -0.05))]
    return [
        *parts,
        Part("wing", "second", ellipse(-0.12, 0.05, 0.38, 0.17, 0.35)),
        Part("leg", "dark", bar(-0.05, 0.3, -0.05, 0.7, 0.025)),
        Part("leg", "dark", bar(0.12, 0.3, 0.12, 0.7, 0.025)),
    ]


def cat(rng: Generator) -> list[Part]:
    """Sitting or standing, with pointed ears and whiskers, striped in half of the draws."""
    u = rng.uniform
    if rng.random() < 0.5:
        x, y = 0.0, -0.3
        parts = [
            Part("tail", "shade", bar(-0.45, 0.5, -0.85, -u(0, 0.3), 0.07, 0.04)),
            Part("body", "main", ellipse(0, 0.4, 0.5, 0.5)),
            Part("leg", "main", bar(-0.15, 0.4, -0.15, 0.93, 0.1)),
            Part("leg", "main", bar(0.15, 0.4, 0.15, 0.93, 0.1)),
        ]
    else:
        x, y = 0.58, -0.2
        parts = [
            Part("tail", "shade", bar(-0.6, 0.05, -0.9, -u(0.4, 0.7), 0.06, 0.04)),
            *_legs(rng, (-0.5, 0.4), 0.2, 0.45, 0.08, "main"),
            Part("body", "main", ellipse(-0.05, 0.12, 0.62, 0.26)),
        ]
    parts += _cat_head(x, y)
    if rng.random() < 0.5:
        stripes = (-0.35, -0.15, 0.05)
        parts += [Part("marking", "shade", bar(s, -0.02, s + 0.05, 0.3, 0.035)) for s in stripes]
    return parts


def _cat_head(x: float, y: float) -> list[Part]:
    parts: list[Part] = []
    for s in (-1, 1):
        outer = (x + s * 0.297, y - 0.1, x + s * 0.2475, y - 0.62, x + s * 0.05, y - 0.25)
        parts.append(Part("ear", "main", polygon(*outer)))
    for s in (-1, 1):
        inner = (x + s * 0.231, y - 0.2, x + s * 0.2244, y - 0.48, x + s * 0.12, y - 0.25)
        parts.append(Part("ear", "pink", polygon(*inner)))
    parts.append(Part("head", "main", ellipse(x, y, 0.33, 0.29)))
    for s in (-1, 1):
        parts.append(Part("eye", "yellow", ellipse(x + s * 0.13, y - 0.06, 0.07, 0.06)))
        parts.append(Part("eye", "dark", ellipse(x + s * 0.13, y - 0.06, 0.025, 0.05)))
    nose = polygon(x - 0.05, y + 0.06, x + 0.05, y + 0.06, x, y + 0.12)
    parts.append(Part("nose", "pink", nose))
    for s in (-1, 1):
        whisker = bar(x + s * 0.08, y + 0.1, x + s * 0.4, y + 0.04, 0.012)
        parts.append(Part("whisker", "light", whisker))
    return parts


def dog(rng: Generator) -> list[Part]:
    """Sitting (40 %) or standing, with a muzzle and hanging ears."""
    u = rng.uniform
    if rng.random() < 0.4:
        x, y = 0.15, -0.4
        parts = [
            Part("tail", "main", bar(-0.4, 0.7, -0.8, u(0.3, 0.6), 0.07, 0.03)),
            Part("body", "main", ellipse(-0.05, 0.4, 0.42, 0.52, 0.2)),
            Part("leg", "main", bar(-0.1, 0.4, -0.1, 0.95, 0.1)),
            Part("leg", "main", bar(0.18, 0.3, 0.2, 0.95, 0.1)),
        ]
    else:
        x, y = 0.58, -0.32
        parts = [
            Part("tail", "main", bar(-0.6, -0.05, -0.92, -u(0.25, 0.5), 0.06, 0.03)),
            *_legs(rng, (-0.52, 0.42), 0.15, 0.6, 0.08, "main"),
            Part("body", "main", ellipse(-0.05, 0.08, 0.64, 0.27)),
        ]
    parts += [
        Part("head", "main", ellipse(x, y, 0.29, 0.28)),
        Part("muzzle", "second", ellipse(x + 0.28, y + 0.1, 0.22, 0.14)),
        Part("nose", "dark", ellipse(x + 0.46, y + 0.04, 0.07, 0.06)),
        Part("ear", "shade", ellipse(x - 0.2, y + 0.08, 0.12, 0.32, 0.2)),
        Part("eye", "dark", ellipse(x + 0.1, y - 0.08, 0.05, 0.05)),
    ]
    if rng.random() < 0.4:
        parts.append(Part("marking", "second", ellipse(-0.2, 0.05, 0.2, 0.15)))
    if rng.random() < 0.4:
        parts.append(Part("tongue", "pink", ellipse(x + 0.32, y + 0.25, 0.06, 0.12)))
    return parts


def cow(rng: Generator) -> list[Part]:
    """Standing, angular, spotted, with horns and an udder."""
    u = rng.uniform
    x, y = 0.72, -0.2
    body = (-0.78, -0.32, 0.5, -0.36, 0.62, 0.2, 0.4, 0.38, -0.68, 0.38, -0.8, 0.1)
    spots = [(u(-0.6, 0.4), u(-0.2, 0.2), u(0.1, 0.24), u(0.09, 0.17)) for _ in range(4)]
    horns = [
        polygon(x + s * 0.2, y - 0.2, x + s * 0.26, y - 0.55, x + s * 0.06, y - 0.25)
        for s in (-1, 1)
    ]
    return [
        Part("tail", "shade", bar(-0.7, -0.15, -0.88, 0.4, 0.03, 0.05)),
        *_legs(rng, (-0.58, 0.45), 0.25, 0.55, 0.09, "main"),
        Part("udder", "pink", ellipse(-0.15, 0.35, 0.16, 0.14)),
        Part("body", "main", polygon(*body)),
        *(Part("marking", "second", ellipse(*spot)) for spot in spots),
        *(Part("horn", "horn", horn) for horn in horns),
        Part("ear", "shade", ellipse(x - 0.28, y - 0.13, 0.13, 0.07)),
        Part("head", "main", ellipse(x, y, 0.22, 0.29)),
        Part("muzzle", "pink", ellipse(x + 0.03, y + 0.22, 0.2, 0.14)),
        Part("eye", "dark", ellipse(x - 0.07, y - 0.06, 0.04, 0.05)),
        Part("eye", "dark", ellipse(x + 0.1, y - 0.06, 0.04, 0.05)),
    ]


def horse(rng: Generator) -> list[Part]:
    """Standing, long-legged, with a mane; saddled in 30 %."""
    u = rng.uniform
    x, y = 0.68, -0.72
    tail = (-0.6, -0.15, -0.85, -0.05, -u(0.85, 0.98), 0.5, -0.72, 0.45)
    mane = (0.08, -0.16, 0.38, -0.85, 0.52, -0.85, 0.34, -0.12)
    parts = [
        Part("tail", "shade", polygon(*tail)),
        *_legs(rng, (-0.52, 0.4), 0.15, 0.8, 0.065, "main"),
        Part("body", "main", ellipse(-0.08, 0.02, 0.58, 0.26)),
        Part("neck", "main", polygon(0.1, -0.15, 0.45, -0.78, 0.72, -0.68, 0.5, 0.12)),
        Part("mane", "shade", polygon(*mane)),
        Part("head", "main", ellipse(x + 0.05, y + 0.08, 0.32, 0.13, 0.6)),
        Part("ear", "main", polygon(0.48, -0.8, 0.5, -1, 0.6, -0.82)),
        Part("eye", "dark", ellipse(x, y - 0.03, 0.035, 0.035)),
        Part("muzzle", "second", ellipse(x + 0.24, y + 0.24, 0.09, 0.08)),
    ]
    if rng.random() < 0.3:
        saddle = polygon(-0.25, -0.27, 0.2, -0.27, 0.15, 0, -0.2, 0)
        parts.append(Part("saddle", "second", saddle))
    return parts


def sheep(rng: Generator) -> list[Part]:
    """A ring of wool tufts on dark legs; the face is dark in 60 %."""
    x, y = 0.68, -0.12
    angles = np.arange(10) / 10 * 2 * np.pi
    tufts = [(-0.05 + 0.5 * math.cos(a), 0.05 + 0.3 * math.sin(a), 0.23, 0.2) for a in angles]
    return [
        *_legs(rng, (-0.45, 0.4), 0.3, 0.45, 0.06, "dark"),
        *(Part("fleece", "wool", ellipse(*tuft)) for tuft in tufts),
        Part("fleece", "wool", ellipse(-0.05, 0.05, 0.55, 0.36)),
        Part("ear", "dark", ellipse(x - 0.2, y - 0.05, 0.13, 0.06, -0.4)),
        Part(
            "head",
            "dark" if rng.random() < 0.6 else "skin",
            ellipse(x + 0.02, y + 0.08, 0.18, 0.25),
        ),
        Part("fleece", "wool", ellipse(x - 0.02, y - 0.16, 0.19, 0.12)),
        Part("eye", "light", ellipse(x + 0.06, y + 0.02, 0.03, 0.03)),
    ]


def person(rng: Generator) -> list[Part]:
    """Whole figure (70 %) or a bust."""
    u = rng.uniform
    if rng.random() < 0.7:
        width, spread = u(0.2, 0.28), u(0.05, 0.25)
        legs = [bar(s * 0.1, 0.2, s * spread, 0.95, 0.11, 0.09) for s in (-1, 1)]
        parts = [
            *(Part("leg", "second", leg) for leg in legs),
            *(Part("foot", "dark", ellipse(s * spread, 0.95, 0.12, 0.05)) for s in (-1, 1)),
        ]
        for s in (-1, 1):
            hand_x, hand_y = s * (width + u(0.02, 0.3)), u(-0.4, 0.3)
            parts.append(Part("arm", "main", bar(s * width * 0.8, -0.42, hand_x, hand_y, 0.07)))
            parts.append(Part("hand", "skin", ellipse(hand_x, hand_y, 0.07, 0.07)))
        hem = width * 0.85
        parts += [
            Part("torso", "main", polygon(-width, -0.48, width, -0.48, hem, 0.25, -hem, 0.25)),
            Part("neck", "skin", rectangle(-0.06, -0.6, 0.06, -0.45)),
        ]
        return [*parts, *_face(-0.74, 0.17)]
    width = u(0.5, 0.65)
    side = width * 0.9
    bust = (-width, 0.95, -side, 0.1, -0.25, -0.1, 0.25, -0.1, side, 0.1, width, 0.95)
    return [
        Part("torso", "main", polygon(*bust)),
        Part("neck", "skin", rectangle(-0.13, -0.25, 0.13, 0)),
        Part("collar", "second", polygon(-0.13, -0.08, 0.13, -0.08, 0, 0.3)),
        *_face(-0.5, 0.34),
    ]


def _face(y: float, radius: float) -> list[Part]:
    mouth = bar(-radius * 0.3, y + radius * 0.6, radius * 0.3, y + radius * 0.6, radius * 0.07)
    eye = radius * 0.12
    return [
        Part("hair", "hair", ellipse(0, y - radius * 0.3, radius * 1.12, radius * 1.1)),
        Part("head", "skin", ellipse(0, y + 0.12 * radius, radius * 0.95, radius * 1.05)),
        *(Part("eye", "dark", ellipse(s * radius * 0.35, y, eye, eye)) for s in (-1, 1)),
        Part("mouth", "red", mouth),
    ]


def _legs(
    rng: Generator, span: tuple[float, float], top: float, length: float, width: float, paint: Paint
) -> list[Part]:
    """Four slightly crooked legs between the two x positions of `span`."""
    parts = []
    for x in np.linspace(*span, 4):
        hip, hoof = x + rng.uniform(-0.03, 0.03), x + rng.uniform(-0.1, 0.1)
        parts.append(Part("leg", paint, bar(hip, top, hoof, top + length, width, width * 0.8)))
    return parts
