"""Vehicles that are not VOC classes, as lists of parts, back to front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cartoon.drawing.shapes import Part, bar, ellipse, polygon, rectangle

if TYPE_CHECKING:
    from numpy.random import Generator

    from bench.cartoon.drawing.shapes import Paint


def _wheels(xs: tuple[float, ...], y: float, radius: float) -> list[Part]:
    return [
        *(Part("wheel", "dark", ellipse(x, y, radius, radius)) for x in xs),
        *(Part("hub", "light", ellipse(x, y, radius * 0.45, radius * 0.45)) for x in xs),
    ]


def _box(part: str, paint: Paint, *corners: float) -> Part:
    return Part(part, paint, rectangle(*corners))


def van(rng: Generator) -> list[Part]:
    """One high box with a sloping nose, windows in front only."""
    top = rng.uniform(-0.65, -0.5)
    shell = (-0.95, top, 0.45, top, 0.78, -0.1, 0.97, 0, 0.97, 0.42, -0.95, 0.42)
    return [
        Part("body", "main", polygon(*shell)),
        Part("window", "light", polygon(0.2, top + 0.12, 0.42, top + 0.12, 0.68, -0.1, 0.2, -0.1)),
        _box("door", "shade", -0.05, top + 0.1, -0.02, 0.36),
        _box("trim", "second", -0.95, 0.12, 0.97, 0.2),
        *_wheels((-0.55, 0.58), 0.45, 0.19),
        Part("lamp", "yellow", ellipse(0.92, 0.2, 0.05, 0.07)),
    ]


def truck(rng: Generator) -> list[Part]:
    """A cab, and a load of its own colour on a flat bed."""
    top = rng.uniform(-0.75, -0.55)
    return [
        _box("chassis", "dark", -0.95, 0.25, 0.95, 0.4),
        _box("body", "second", -0.97, top, 0.28, 0.28),
        Part("cabin", "main", polygon(0.34, -0.45, 0.7, -0.45, 0.9, -0.05, 0.97, 0.35, 0.34, 0.35)),
        Part("window", "light", polygon(0.45, -0.35, 0.67, -0.35, 0.82, -0.05, 0.45, -0.05)),
        *_wheels((-0.7, -0.32, 0.62), 0.47, 0.19),
    ]


def tractor(rng: Generator) -> list[Part]:
    """A large and a small wheel, a cab, an upright exhaust."""
    big = rng.uniform(0.42, 0.5)
    return [
        _box("exhaust", "dark", 0.42, -0.75, 0.5, -0.1),
        _box("cabin", "main", -0.62, -0.85, 0.05, 0.1),
        _box("window", "light", -0.52, -0.72, -0.05, -0.2),
        _box("body", "main", -0.1, -0.15, 0.85, 0.3),
        _box("trim", "shade", 0.2, 0.0, 0.85, 0.1),
        *_wheels((-0.4,), 0.42, big),
        *_wheels((0.65,), 0.6, 0.27),
    ]


def scooter(rng: Generator) -> list[Part]:
    """A step-through frame, a shield, and small wheels."""
    radius = rng.uniform(0.2, 0.25)
    return [
        *_wheels((-0.55, 0.62), 0.65, radius),
        Part("body", "main", polygon(-0.85, 0.15, -0.15, 0.1, -0.1, 0.6, -0.75, 0.6)),
        _box("body", "main", -0.2, 0.48, 0.5, 0.62),
        Part("body", "main", polygon(0.3, 0.6, 0.28, -0.5, 0.48, -0.5, 0.62, 0.45)),
        Part("saddle", "dark", polygon(-0.88, 0.02, -0.1, -0.02, -0.12, 0.14, -0.85, 0.16)),
        Part("handlebar", "dark", bar(0.15, -0.68, 0.5, -0.55, 0.05)),
        Part("lamp", "yellow", ellipse(0.48, -0.42, 0.09, 0.09)),
    ]


def tram(rng: Generator) -> list[Part]:
    """A tall car with a pole on its roof and few wheels."""
    low = rng.uniform(0.5, 0.6)
    return [
        Part("pantograph", "dark", bar(-0.05, -0.55, 0.3, -0.95, 0.025)),
        _box("top", "shade", -0.75, -0.65, 0.75, -0.5),
        Part("body", "main", polygon(-0.9, -0.5, 0.9, -0.5, 0.97, low, -0.97, low)),
        _box("trim", "light", -0.93, 0.12, 0.93, 0.2),
        *(_box("window", "light", x, -0.4, x + 0.3, 0.02) for x in (-0.82, -0.44, 0.14, 0.52)),
        _box("door", "dark", -0.09, -0.38, 0.09, low),
        *_wheels((-0.45, 0.45), low + 0.05, 0.14),
    ]


def helicopter(rng: Generator) -> list[Part]:
    """A glass nose, a rotor and a tail boom."""
    tilt = rng.uniform(-0.06, 0.06)
    return [
        Part("tail", "main", bar(-0.2, -0.05, -0.95, -0.22, 0.12, 0.05)),
        Part("tail", "second", polygon(-0.98, -0.55, -0.82, -0.55, -0.85, -0.1, -0.98, -0.1)),
        Part("mast", "dark", bar(0.15, -0.3, 0.15, -0.6, 0.04)),
        Part("wing", "dark", bar(-0.75, -0.6 + tilt, 0.98, -0.6 - tilt, 0.03)),
        Part("body", "main", ellipse(0.2, 0.05, 0.5, 0.36)),
        Part("window", "light", polygon(0.3, -0.22, 0.6, -0.1, 0.68, 0.1, 0.3, 0.1)),
        *(Part("foot", "dark", bar(x, 0.35, x, 0.6, 0.03)) for x in (0.02, 0.4)),
        Part("foot", "dark", bar(-0.2, 0.62, 0.65, 0.62, 0.035)),
    ]


def canoe(rng: Generator) -> list[Part]:
    """A low pointed hull with a paddle."""
    dip = rng.uniform(0.3, 0.4)
    hull = (-0.98, -0.15, -0.75, 0.1, 0.75, 0.1, 0.98, -0.15, 0.8, dip, 0, dip + 0.06, -0.8, dip)
    return [
        Part("mast", "wood", bar(-0.25, -0.65, 0.2, 0.5, 0.035)),
        Part("wing", "wood", ellipse(0.24, 0.58, 0.09, 0.18, -0.35)),
        Part("hull", "main", polygon(*hull)),
        Part("trim", "shade", bar(-0.78, 0.14, 0.78, 0.14, 0.04)),
        *(_box("seat", "wood", x, 0.05, x + 0.12, 0.13) for x in (-0.4, 0.3)),
    ]


def balloon(rng: Generator) -> list[Part]:
    """A striped envelope over a basket."""
    wide = rng.uniform(0.55, 0.68)
    ropes = [bar(s * wide * 0.55, 0.2, s * 0.12, 0.72, 0.015) for s in (-1, 1)]
    return [
        *(Part("mast", "dark", rope) for rope in ropes),
        Part("body", "main", ellipse(0, -0.3, wide, 0.66)),
        Part("marking", "second", ellipse(0, -0.3, wide * 0.55, 0.66)),
        Part("marking", "main", ellipse(0, -0.3, wide * 0.2, 0.66)),
        _box("base", "wood", -0.15, 0.7, 0.15, 0.96),
    ]


def rocket(rng: Generator) -> list[Part]:
    """A pointed tube with fins and a porthole."""
    wide = rng.uniform(0.2, 0.27)
    return [
        Part("smoke", "yellow", polygon(-0.15, 0.7, 0.15, 0.7, 0, 0.99)),
        *(
            Part("wing", "second", polygon(s * wide, 0.1, s * 0.6, 0.75, s * wide, 0.65))
            for s in (-1, 1)
        ),
        Part("body", "main", polygon(-wide, -0.45, 0, -0.98, wide, -0.45, wide, 0.72, -wide, 0.72)),
        Part("nose", "second", polygon(-wide, -0.45, 0, -0.98, wide, -0.45)),
        Part("window", "light", ellipse(0, -0.2, wide * 0.55, wide * 0.55)),
    ]


def submarine(rng: Generator) -> list[Part]:
    """A long hull with a tower, a periscope and portholes."""
    high = rng.uniform(0.26, 0.33)
    return [
        Part("mast", "dark", bar(0.05, -0.4, 0.05, -0.85, 0.03)),
        Part("mast", "dark", bar(0.05, -0.83, 0.22, -0.83, 0.03)),
        _box("cabin", "shade", -0.2, -0.5, 0.3, 0),
        Part("tail", "second", polygon(-0.75, 0.1, -0.98, -0.25, -0.98, 0.5)),
        Part("body", "main", ellipse(0, 0.15, 0.88, high)),
        *(Part("window", "yellow", ellipse(x, 0.12, 0.09, 0.09)) for x in (-0.3, 0.05, 0.4)),
    ]
