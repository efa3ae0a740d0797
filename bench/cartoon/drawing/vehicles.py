"""The seven vehicles of VOC as lists of parts, back to front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing.shapes import Part, bar, ellipse, polygon, rectangle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.random import Generator

    from bench.cartoon.drawing.shapes import Paint


def aeroplane(rng: Generator) -> list[Part]:
    """Seen from the side (65 %) or from the front."""
    if rng.random() < 0.65:
        return _aeroplane_side(rng)
    radius = rng.uniform(0.2, 0.28)
    return [
        Part("wing", "shade", bar(-1, 0.1, 1, 0.1, 0.05)),
        Part("tail", "second", polygon(-0.08, 0, -0.06, -0.65, 0.06, -0.65, 0.08, 0)),
        Part("tail", "second", bar(-0.35, -0.3, 0.35, -0.3, 0.04)),
        Part("body", "main", ellipse(0, 0.08, radius, radius)),
        Part("engine", "dark", ellipse(-0.5, 0.2, 0.1, 0.12)),
        Part("engine", "dark", ellipse(0.5, 0.2, 0.1, 0.12)),
        Part("window", "light", polygon(-0.12, 0, 0.12, 0, 0.1, 0.1, -0.1, 0.1)),
    ]


def _aeroplane_side(rng: Generator) -> list[Part]:
    u = rng.uniform
    near_wing = polygon(-0.1, 0, -u(0.3, 0.55), u(0.45, 0.7), -0.2, u(0.5, 0.7), 0.3, 0.03)
    return [
        Part("tail", "second", polygon(-0.75, -0.02, -0.98, -u(0.4, 0.6), -0.8, -0.5, -0.5, -0.02)),
        Part("body", "main", ellipse(0, 0, 0.95, u(0.13, 0.22))),
        Part("wing", "shade", near_wing),
        Part("wing", "shade", polygon(0.05, -0.08, -0.25, -u(0.35, 0.5), -0.1, -0.42, 0.28, -0.08)),
        *_windows(_steps(-0.5, 0.5, 0.2), -0.08, 0.08, 0),
        Part("nose", "dark", polygon(0.7, -0.12, 0.88, -0.05, 0.7, -0.02)),
    ]


def bicycle(rng: Generator) -> list[Part]:
    """Diamond frame on two rings; the ground shows through the wheels."""
    radius, half, axle = rng.uniform(0.36, 0.44), 0.52, 0.35
    width = rng.uniform(0.03, 0.05)
    seat_x, seat_y, head_x, head_y = -0.15, -0.2, 0.35, -0.3
    tubes: tuple[tuple[float, float, float, float], ...] = (
        (-half, axle, seat_x, seat_y),
        (-half, axle, 0, axle),
        (seat_x, seat_y - 0.15, 0, axle),
        (0, axle, head_x, head_y),
        (seat_x, seat_y, head_x, head_y + 0.08),
        (head_x, head_y - 0.15, half, axle),
    )
    bar_ends = (head_x - 0.15, head_y - 0.18, head_x + 0.12, head_y - 0.12)
    return [
        Part("wheel", "dark", ellipse(-half, axle, radius, radius), stroke=0.055),
        Part("wheel", "dark", ellipse(half, axle, radius, radius), stroke=0.055),
        *(Part("frame", "main", bar(*tube, width)) for tube in tubes),
        Part("handlebar", "dark", bar(*bar_ends, 0.04)),
        Part("saddle", "dark", ellipse(seat_x, seat_y - 0.2, 0.16, 0.06)),
        Part("crank", "second", ellipse(0, axle, 0.09, 0.09)),
    ]


def boat(rng: Generator) -> list[Part]:
    """A sailing boat (55 %), a steamer (30 %) or an open hull."""
    u = rng.uniform
    kind, depth = rng.random(), u(0.35, 0.55)
    parts: list[Part] = []
    if kind < 0.55:
        parts = [
            Part("mast", "wood", bar(0, -0.95, 0, 0.3, 0.03)),
            Part(
                "sail",
                "light" if rng.random() < 0.5 else "second",
                polygon(0.05, -0.9, 0.05, 0.18, u(0.55, 0.8), 0.18),
            ),
            Part("sail", "second", polygon(-0.05, -0.75, -0.05, 0.18, -u(0.45, 0.7), 0.18)),
        ]
    elif kind < 0.85:
        parts = [
            Part("cabin", "light", rectangle(-0.45, -0.2, 0.3, 0.3)),
            Part("cabin", "second", rectangle(-0.25, -0.5, 0.15, -0.15)),
            Part("chimney", "main", bar(-0.05, -0.85, -0.05, -0.5, 0.08)),
            *(
                Part("window", "dark", rectangle(x, -0.08, x + 0.12, 0.06))
                for x in (-0.38, -0.15, 0.08)
            ),
        ]
    hull = polygon(-0.9, 0.25, 0.98, 0.18, 0.7, 0.25 + depth, -0.7, 0.25 + depth)
    return [
        *parts,
        Part("hull", "main", hull),
        Part("trim", "shade", bar(-0.85, 0.33, 0.9, 0.28, 0.035)),
    ]


def bus(rng: Generator) -> list[Part]:
    """From the side (70 %, a third of them double-deckers) or from the front."""
    if rng.random() >= 0.7:
        return [
            Part("body", "main", rectangle(-0.6, -0.8, 0.6, 0.7)),
            Part("window", "light", rectangle(-0.5, -0.55, 0.5, 0.1)),
            Part("display", "dark", rectangle(-0.45, -0.76, 0.45, -0.62)),
            Part("wheel", "dark", rectangle(-0.5, 0.65, -0.3, 0.85)),
            Part("wheel", "dark", rectangle(0.3, 0.65, 0.5, 0.85)),
            *_lamps(0.4, 0.4, 0.09, 0.09),
            Part("plate", "second", rectangle(-0.2, 0.3, 0.2, 0.5)),
        ]
    deck: list[Part] = []
    if rng.random() < 0.3:
        deck = [Part("body", "main", rectangle(-0.95, -0.95, 0.95, -0.45))]
        deck += _windows(_steps(-0.85, 0.8, 0.3), -0.85, 0.24, -0.58)
    return [
        *deck,
        Part("body", "main", rectangle(-0.95, -0.5, 0.95, 0.45)),
        Part("trim", "second", rectangle(-0.95, 0.1, 0.95, 0.22)),
        *_windows(_steps(-0.85, 0.6, 0.3), -0.38, 0.24, 0),
        Part("door", "light", rectangle(0.7, -0.38, 0.93, 0.4)),
        *_wheels((-0.5, 0.5), 0.47, 0.17, 0.07, "second"),
    ]


def car(rng: Generator) -> list[Part]:
    """From the side (70 %) or from the front."""
    u = rng.uniform
    if rng.random() >= 0.7:
        return [
            Part("body", "main", polygon(-0.5, -0.1, -0.4, -0.5, 0.4, -0.5, 0.5, -0.1)),
            Part("window", "light", polygon(-0.42, -0.1, -0.34, -0.42, 0.34, -0.42, 0.42, -0.1)),
            Part("body", "main", rectangle(-0.68, -0.12, 0.68, 0.4)),
            Part("wheel", "dark", rectangle(-0.62, 0.35, -0.42, 0.58)),
            Part("wheel", "dark", rectangle(0.42, 0.35, 0.62, 0.58)),
            *_lamps(0.5, 0.1, 0.1, 0.08),
            Part("plate", "dark", rectangle(-0.3, 0.05, 0.3, 0.18)),
        ]
    roof = u(-0.5, -0.35)
    cabin = polygon(-0.6, 0, -u(0.3, 0.45), roof, u(0.25, 0.4), roof, 0.65, 0)
    glass = roof + 0.09
    chassis = (-0.95, 0, 0.75, -0.03, 0.97, 0.12, 0.97, 0.36, -0.97, 0.36, -0.98, 0.1)
    return [
        Part("body", "main", cabin),
        Part("window", "light", polygon(-0.5, 0, -0.33, glass, -0.04, glass, -0.04, 0)),
        Part("window", "light", polygon(0.02, 0, 0.02, glass, 0.26, glass, 0.5, 0)),
        Part("body", "main", polygon(*chassis)),
        Part("trim", "shade", bar(-0.95, 0.28, 0.96, 0.28, 0.05)),
        *_wheels((-0.52, 0.52), 0.36, 0.2, 0.09, "light"),
        Part("lamp", "yellow", ellipse(0.9, 0.12, 0.06, 0.05)),
    ]


def motorbike(rng: Generator) -> list[Part]:
    """From the side, on two solid wheels."""
    radius = rng.uniform(0.3, 0.36)
    return [
        *(Part("wheel", "dark", ellipse(x, 0.4, radius, radius)) for x in (-0.6, 0.62)),
        *(Part("hub", "light", ellipse(x, 0.4, radius / 2, radius / 2)) for x in (-0.6, 0.62)),
        Part("fork", "second", bar(0.62, 0.4, 0.35, -0.4, 0.05)),
        Part("engine", "shade", polygon(-0.35, 0, 0.3, -0.05, 0.3, 0.45, -0.2, 0.5)),
        Part("exhaust", "light", bar(-0.85, 0.45, -0.05, 0.42, 0.06)),
        Part("tank", "main", ellipse(0.12, -0.08, 0.33, 0.19, -0.2)),
        Part("saddle", "dark", polygon(-0.8, -0.2, -0.1, -0.12, -0.1, 0.05, -0.7, 0.02)),
        Part("handlebar", "dark", bar(0.22, -0.48, 0.45, -0.42, 0.045)),
        Part("lamp", "yellow", ellipse(0.46, -0.24, 0.1, 0.1)),
        Part("mudguard", "main", polygon(-0.9, 0.05, -0.5, -0.02, -0.3, 0.15, -0.7, 0.12)),
    ]


def train(rng: Generator) -> list[Part]:
    """A railcar from the side (40 %), a steam engine (30 %) or an engine from the front."""
    kind = rng.random()
    if kind < 0.4:
        return _railcar()
    if kind < 0.7:
        return _steam_engine()
    lefts = (-0.9, -0.7, -0.5)
    wagon_windows = ((x, -0.42, x + 0.12, -0.46, x + 0.12, 0.02, x, -0.03) for x in lefts)
    face = (-0.3, -0.7, 0, -0.8, 0.6, -0.8, 0.75, -0.6, 0.75, 0.75, -0.3, 0.75)
    screen = (-0.18, -0.55, 0.62, -0.55, 0.65, -0.05, -0.2, -0.05)
    return [
        Part("body", "shade", polygon(-0.25, -0.7, -0.98, -0.45, -0.98, 0.3, -0.25, 0.75)),
        *(Part("window", "light", polygon(*corners)) for corners in wagon_windows),
        Part("body", "main", polygon(*face)),
        Part("window", "light", polygon(*screen)),
        Part("trim", "second", rectangle(-0.3, 0.2, 0.75, 0.4)),
        Part("lamp", "yellow", ellipse(-0.12, 0.5, 0.08, 0.08)),
        Part("lamp", "yellow", ellipse(0.58, 0.5, 0.08, 0.08)),
        Part("bumper", "dark", rectangle(-0.3, 0.75, 0.75, 0.86)),
    ]


def _railcar() -> list[Part]:
    wheels = (-0.8, -0.55, -0.1, 0.15, 0.55, 0.8)
    nose = (0.98, -0.42, 1, -0.3, 1, 0.4, 0.85, 0.4, 0.8, -0.42)
    return [
        Part("body", "main", rectangle(-0.98, -0.42, 0.98, 0.4)),
        Part("trim", "second", rectangle(-0.98, 0.15, 0.98, 0.25)),
        *_windows(_steps(-0.9, 0.55, 0.24), -0.28, 0.16, 0.02),
        Part("nose", "shade", polygon(*nose)),
        Part("window", "light", polygon(0.82, -0.3, 0.97, -0.25, 0.97, 0, 0.82, 0)),
        *(Part("wheel", "dark", ellipse(x, 0.47, 0.1, 0.1)) for x in wheels),
        Part("chassis", "dark", bar(-0.98, 0.42, 0.98, 0.42, 0.05)),
        Part("pantograph", "dark", bar(-0.3, -0.42, -0.1, -0.65, 0.02)),
        Part("pantograph", "dark", bar(-0.1, -0.65, 0.1, -0.42, 0.02)),
    ]


def _steam_engine() -> list[Part]:
    return [
        Part("boiler", "main", rectangle(-0.75, -0.25, 0.5, 0.2)),
        Part("cabin", "main", rectangle(-0.98, -0.65, -0.4, 0.35)),
        Part("window", "light", rectangle(-0.88, -0.52, -0.52, -0.2)),
        Part("chimney", "dark", rectangle(0.2, -0.7, 0.38, -0.2)),
        Part("nose", "dark", ellipse(0.5, -0.02, 0.14, 0.24)),
        Part("chassis", "second", rectangle(-0.98, 0.2, 0.7, 0.38)),
        Part("bumper", "dark", polygon(0.65, 0.2, 0.95, 0.55, 0.65, 0.55)),
        *_wheels((-0.75, -0.35, 0.05, 0.42), 0.45, 0.16, 0.07, "second"),
        Part("smoke", "light", ellipse(0.3, -0.85, 0.14, 0.1)),
    ]


def _steps(start: float, stop: float, step: float) -> list[float]:
    return [float(x) for x in np.arange(start, stop, step)]


def _windows(lefts: Iterable[float], top: float, width: float, bottom: float) -> list[Part]:
    return [Part("window", "light", rectangle(x, top, x + width, bottom)) for x in lefts]


def _lamps(x: float, y: float, rx: float, ry: float) -> list[Part]:
    return [Part("lamp", "yellow", ellipse(side * x, y, rx, ry)) for side in (-1, 1)]


def _wheels(xs: Iterable[float], y: float, radius: float, hub: float, paint: Paint) -> list[Part]:
    centres = tuple(xs)
    return [
        *(Part("wheel", "dark", ellipse(x, y, radius, radius)) for x in centres),
        *(Part("hub", paint, ellipse(x, y, hub, hub)) for x in centres),
    ]
