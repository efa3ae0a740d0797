"""Household objects and figures that are not VOC classes, as lists of parts, back to front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing.shapes import Part, bar, ellipse, polygon, rectangle

if TYPE_CHECKING:
    from numpy.random import Generator

    from bench.cartoon.drawing.shapes import Paint


def _box(part: str, paint: Paint, *corners: float) -> Part:
    return Part(part, paint, rectangle(*corners))


def vase(rng: Generator) -> list[Part]:
    """A belly and a wide lip, with flowers in half of the draws."""
    wide, neck = rng.uniform(0.35, 0.48), rng.uniform(0.14, 0.2)
    parts: list[Part] = []
    if rng.random() < 0.5:
        for x in (-0.35, 0.0, 0.3):
            parts.append(Part("leaf", "leaf", bar(0, -0.2, x, -0.75, 0.025)))
            parts.append(Part("flower", "red", ellipse(x, -0.8, 0.14, 0.14)))
    glass = (
        *(-neck, -0.35, neck, -0.35, neck, -0.1, wide, 0.35, 0.22, 0.95),
        *(-0.22, 0.95, -wide, 0.35, -neck, -0.1),
    )
    return [
        *parts,
        Part("body", "main", polygon(*glass)),
        Part("rim", "shade", ellipse(0, -0.35, neck + 0.12, 0.07)),
        Part("marking", "second", bar(-wide * 0.85, 0.35, wide * 0.85, 0.35, 0.07)),
    ]


def cup(rng: Generator) -> list[Part]:
    """A mug with a handle and steam."""
    low = rng.uniform(0.6, 0.75)
    return [
        Part("smoke", "light", bar(-0.15, -0.9, -0.05, -0.5, 0.04)),
        Part("handlebar", "main", ellipse(0.5, 0.1, 0.27, 0.3), stroke=0.07),
        Part("body", "main", polygon(-0.6, -0.45, 0.5, -0.45, 0.4, low, -0.5, low)),
        Part("rim", "dark", ellipse(-0.05, -0.45, 0.55, 0.12)),
        _box("trim", "second", -0.5, 0.05, 0.42, 0.2),
    ]


def jug(rng: Generator) -> list[Part]:
    """A belly with a spout and a handle."""
    wide = rng.uniform(0.42, 0.52)
    return [
        Part("handlebar", "shade", ellipse(-0.5, 0, 0.28, 0.4), stroke=0.07),
        Part("body", "main", ellipse(0, 0.35, wide, 0.58)),
        Part("neck", "main", polygon(-0.25, -0.8, 0.3, -0.8, 0.22, 0, -0.25, 0)),
        Part("nose", "main", polygon(0.1, -0.8, 0.62, -0.85, 0.25, -0.35)),
        Part("marking", "light", ellipse(0.12, 0.3, 0.1, 0.25, -0.2)),
    ]


def stool(rng: Generator) -> list[Part]:
    """A round seat on three legs, no back."""
    y = rng.uniform(-0.45, -0.25)
    legs = ((-0.35, -0.55), (0.35, 0.55), (0, 0.05))
    return [
        *(Part("leg", "shade", bar(a, y, b, 0.95, 0.06)) for a, b in legs),
        Part("slat", "shade", bar(-0.42, 0.4, 0.42, 0.4, 0.04)),
        Part("seat", "main", ellipse(0, y, 0.58, 0.17)),
        Part("cushion", "shade", ellipse(0, y - 0.05, 0.4, 0.09)),
    ]


def bench(rng: Generator) -> list[Part]:
    """A long seat of slats with a low back."""
    y = rng.uniform(0.05, 0.2)
    return [
        *(Part("leg", "dark", bar(x, -0.3, x, 0.75, 0.05)) for x in (-0.8, 0.8)),
        *(_box("slat", "main", -0.97, h, 0.97, h + 0.13) for h in (-0.5, -0.3, -0.1)),
        _box("seat", "main", -0.98, y, 0.98, y + 0.12),
        _box("seat", "shade", -0.98, y + 0.12, 0.98, y + 0.2),
    ]


def bed(rng: Generator) -> list[Part]:
    """A headboard, a pillow and a blanket."""
    top = rng.uniform(-0.7, -0.5)
    return [
        _box("back", "wood", -0.97, top, -0.82, 0.75),
        _box("back", "wood", 0.85, -0.1, 0.97, 0.75),
        _box("base", "wood", -0.9, 0.35, 0.9, 0.55),
        _box("seat", "light", -0.85, 0.05, 0.88, 0.38),
        Part("cushion", "light", ellipse(-0.6, -0.02, 0.26, 0.14)),
        Part("seat", "main", polygon(-0.3, -0.02, 0.88, 0.0, 0.88, 0.4, -0.38, 0.4)),
        _box("trim", "second", -0.36, -0.02, -0.22, 0.4),
    ]


def desk(rng: Generator) -> list[Part]:
    """A flat top with drawers on one side."""
    y = rng.uniform(-0.35, -0.2)
    drawers = np.linspace(y + 0.12, 0.6, 3)
    return [
        Part("leg", "shade", bar(-0.85, y, -0.85, 0.9, 0.05)),
        _box("body", "shade", 0.2, y, 0.9, 0.9),
        *(_box("door", "main", 0.27, float(h), 0.83, float(h) + 0.22) for h in drawers),
        *(Part("hub", "dark", ellipse(0.55, float(h) + 0.11, 0.05, 0.04)) for h in drawers),
        _box("top", "main", -0.98, y - 0.08, 0.98, y + 0.06),
    ]


def laptop(rng: Generator) -> list[Part]:
    """A tilted screen over a keyboard."""
    lean = rng.uniform(0.02, 0.15)
    lid = (-0.7 - lean, -0.75, 0.7 + lean, -0.75, 0.7, 0.2, -0.7, 0.2)
    screen = (-0.6 - lean, -0.65, 0.6 + lean, -0.65, 0.6, 0.1, -0.6, 0.1)
    return [
        Part("frame", "dark", polygon(*lid)),
        Part("screen", "light", polygon(*screen)),
        Part("display", "main", ellipse(-0.1, -0.25, 0.28, 0.2)),
        Part("base", "shade", polygon(-0.72, 0.22, 0.72, 0.22, 0.95, 0.6, -0.95, 0.6)),
        *(Part("trim", "dark", bar(-0.68, y, 0.68, y, 0.03)) for y in (0.32, 0.42)),
    ]


def lamp(rng: Generator) -> list[Part]:
    """A shade on a stem."""
    half = rng.uniform(0.4, 0.55)
    return [
        Part("stand", "dark", bar(0, -0.3, 0, 0.85, 0.05)),
        Part("base", "dark", ellipse(0, 0.88, 0.36, 0.09)),
        Part("lamp", "main", polygon(-0.25, -0.95, 0.25, -0.95, half, -0.25, -half, -0.25)),
        Part("trim", "yellow", bar(-half, -0.25, half, -0.25, 0.05)),
    ]


def clock(rng: Generator) -> list[Part]:
    """A round face with two hands."""
    hours = rng.uniform(0, 2 * math.pi)
    return [
        *(Part("foot", "shade", bar(s * 0.4, 0.6, s * 0.6, 0.95, 0.08)) for s in (-1, 1)),
        *(Part("ear", "shade", ellipse(s * 0.5, -0.72, 0.22, 0.18, s * 0.6)) for s in (-1, 1)),
        Part("rim", "main", ellipse(0, 0.05, 0.8, 0.8)),
        Part("display", "light", ellipse(0, 0.05, 0.64, 0.64)),
        Part(
            "hand", "dark", bar(0, 0.05, 0.4 * math.sin(hours), 0.05 - 0.4 * math.cos(hours), 0.05)
        ),
        Part("hand", "dark", bar(0, 0.05, 0, -0.5, 0.035)),
    ]


def cactus(rng: Generator) -> list[Part]:
    """Two arms and a pot."""
    left, right = rng.uniform(-0.3, 0, 2)
    trunk = [(0.0, 0.5, 0.0, -0.75), (0.0, 0.1, -0.5, 0.1), (0.0, -0.05, 0.45, -0.05)]
    arms = [(-0.5, 0.14, -0.5, left - 0.2), (0.45, 0, 0.45, right - 0.3)]
    return [
        Part("body", "leaf", ellipse(0, -0.75, 0.17, 0.17)),
        *(Part("body", "leaf", bar(*limb, 0.17)) for limb in trunk[:1]),
        *(Part("arm", "leaf", bar(*limb, 0.1)) for limb in (*trunk[1:], *arms)),
        *(Part("marking", "dark", bar(x, -0.7, x, 0.4, 0.012)) for x in (-0.07, 0.07)),
        Part("pot", "main", polygon(-0.38, 0.45, 0.38, 0.45, 0.26, 0.97, -0.26, 0.97)),
        _box("rim", "shade", -0.43, 0.4, 0.43, 0.54),
    ]


def bookcase(rng: Generator) -> list[Part]:
    """Shelves of books."""
    paints: tuple[Paint, ...] = ("second", "red", "light", "leaf", "yellow")
    parts = [_box("body", "main", -0.65, -0.97, 0.65, 0.97)]
    for y in (-0.85, -0.25, 0.35):
        parts.append(_box("door", "shade", -0.55, y, 0.55, y + 0.5))
        for k, x in enumerate(np.arange(-0.5, 0.45, 0.2)):
            high = rng.uniform(0.05, 0.2)
            paint = paints[rng.integers(len(paints))] if k else "second"
            parts.append(_box("label", paint, float(x), y + high, float(x) + 0.15, y + 0.5))
    return parts


def fridge(rng: Generator) -> list[Part]:
    """Two doors with handles."""
    split = rng.uniform(-0.4, -0.2)
    return [
        _box("body", "main", -0.5, -0.97, 0.5, 0.95),
        _box("trim", "dark", -0.5, split, 0.5, split + 0.04),
        _box("handlebar", "dark", -0.42, split - 0.4, -0.35, split - 0.08),
        _box("handlebar", "dark", -0.42, split + 0.15, -0.35, split + 0.6),
        _box("foot", "dark", -0.45, 0.92, 0.45, 0.98),
    ]


def suitcase(rng: Generator) -> list[Part]:
    """A case with straps and a handle."""
    top = rng.uniform(-0.45, -0.3)
    return [
        Part("handlebar", "dark", ellipse(0, top, 0.28, 0.2), stroke=0.05),
        _box("body", "main", -0.9, top, 0.9, 0.75),
        *(_box("trim", "shade", x, top, x + 0.14, 0.75) for x in (-0.6, 0.46)),
        *(_box("plate", "yellow", x + 0.02, 0.1, x + 0.12, 0.25) for x in (-0.6, 0.46)),
    ]


def umbrella(rng: Generator) -> list[Part]:
    """An open canopy of stripes on a hooked stick."""
    hook = rng.uniform(0.1, 0.2)
    canopy = ellipse(0, 0, 0.95, 0.85)
    canopy[:, 1] = np.minimum(canopy[:, 1], 0.0)
    inner = ellipse(0, 0, 0.35, 0.85)
    inner[:, 1] = np.minimum(inner[:, 1], 0.0)
    return [
        Part("stand", "wood", bar(0, -0.9, 0, 0.85, 0.035)),
        Part("hand", "wood", bar(0, 0.85, hook, 0.93, 0.04)),
        Part("top", "main", canopy),
        Part("marking", "second", inner),
    ]


def guitar(rng: Generator) -> list[Part]:
    """A waisted body with a sound hole and a neck."""
    low = rng.uniform(0.38, 0.45)
    return [
        Part("neck", "wood", bar(0, 0.3, 0, -0.85, 0.06)),
        _box("head", "dark", -0.12, -0.98, 0.12, -0.75),
        Part("body", "main", ellipse(0, 0.55, low, 0.4)),
        Part("body", "main", ellipse(0, 0.1, low * 0.75, 0.3)),
        Part("hub", "dark", ellipse(0, 0.3, 0.13, 0.13)),
        _box("plate", "dark", -0.15, 0.65, 0.15, 0.72),
    ]


def ball(rng: Generator) -> list[Part]:
    """A beach ball."""
    turn = rng.uniform(0, 0.5)
    return [
        Part("body", "main", ellipse(0, 0, 0.85, 0.85)),
        Part("marking", "second", ellipse(0, 0, 0.85, 0.3, turn)),
        Part("marking", "light", ellipse(0, 0, 0.3, 0.85, turn)),
        Part("hub", "main", ellipse(0, 0, 0.16, 0.16)),
    ]


def hat(rng: Generator) -> list[Part]:
    """A crown with a band over a brim."""
    half = rng.uniform(0.42, 0.52)
    return [
        Part("rim", "main", ellipse(0, 0.45, 0.97, 0.2)),
        Part("top", "main", polygon(-half, 0.45, -half * 0.8, -0.6, half * 0.8, -0.6, half, 0.45)),
        _box("trim", "second", -half, 0.2, half, 0.42),
    ]


def apple(rng: Generator) -> list[Part]:
    """Two lobes, a stalk and a leaf."""
    lobe = rng.uniform(0.5, 0.56)
    return [
        Part("leg", "wood", bar(0, -0.4, 0.1, -0.9, 0.05)),
        Part("leaf", "leaf", ellipse(0.34, -0.75, 0.27, 0.12, -0.4)),
        *(Part("body", "main", ellipse(s * 0.28, 0.15, lobe, 0.68)) for s in (-1, 1)),
        Part("highlight", "light", ellipse(-0.4, -0.1, 0.1, 0.2, 0.3)),
    ]


def mushroom(rng: Generator) -> list[Part]:
    """A spotted cap on a pale stalk."""
    cap = ellipse(0, -0.05, 0.9, rng.uniform(0.65, 0.8))
    cap[:, 1] = np.minimum(cap[:, 1], 0.1)
    spots = ((-0.45, -0.2), (0.05, -0.45), (0.45, -0.15))
    return [
        Part("stand", "light", polygon(-0.22, 0, 0.22, 0, 0.32, 0.95, -0.32, 0.95)),
        Part("cap", "main", cap),
        *(Part("marking", "light", ellipse(x, y, 0.14, 0.12)) for x, y in spots),
    ]


def robot(rng: Generator) -> list[Part]:
    """Boxes for limbs, an antenna, square eyes."""
    reach = rng.uniform(-0.2, 0.4)
    return [
        Part("mast", "dark", bar(0, -0.7, 0, -0.95, 0.03)),
        Part("lamp", "red", ellipse(0, -0.94, 0.07, 0.07)),
        *(_box("leg", "shade", s - 0.1, 0.3, s + 0.1, 0.95) for s in (-0.22, 0.22)),
        *(Part("arm", "shade", bar(s * 0.4, -0.2, s * 0.75, reach, 0.08)) for s in (-1, 1)),
        _box("torso", "main", -0.42, -0.28, 0.42, 0.4),
        _box("plate", "light", -0.25, -0.1, 0.25, 0.15),
        _box("head", "main", -0.32, -0.75, 0.32, -0.32),
        *(_box("eye", "yellow", s - 0.09, -0.63, s + 0.09, -0.48) for s in (-0.15, 0.15)),
    ]


def snowman(rng: Generator) -> list[Part]:
    """Three balls, a carrot and a hat."""
    arm = rng.uniform(-0.5, -0.2)
    return [
        *(Part("arm", "wood", bar(s * 0.3, 0.02, s * 0.8, arm, 0.03)) for s in (-1, 1)),
        Part("body", "light", ellipse(0, 0.55, 0.5, 0.42)),
        Part("torso", "light", ellipse(0, 0.0, 0.37, 0.34)),
        Part("head", "light", ellipse(0, -0.45, 0.26, 0.25)),
        Part("collar", "main", bar(-0.27, -0.24, 0.27, -0.24, 0.07)),
        *(Part("eye", "dark", ellipse(s * 0.1, -0.5, 0.035, 0.035)) for s in (-1, 1)),
        Part("nose", "beak", polygon(0, -0.46, 0.3, -0.4, 0, -0.38)),
        _box("cap", "dark", -0.32, -0.72, 0.32, -0.64),
        _box("cap", "dark", -0.2, -0.98, 0.2, -0.68),
    ]


def statue(rng: Generator) -> list[Part]:
    """A figure of one colour on a pedestal."""
    arm = rng.uniform(-0.9, -0.1)
    return [
        *(Part("leg", "main", bar(s * 0.08, 0.05, s * 0.12, 0.55, 0.08)) for s in (-1, 1)),
        Part("arm", "main", bar(-0.18, -0.4, -0.45, arm, 0.06)),
        Part("arm", "main", bar(0.18, -0.4, 0.3, 0.1, 0.06)),
        Part("torso", "main", polygon(-0.22, -0.5, 0.22, -0.5, 0.16, 0.15, -0.16, 0.15)),
        Part("head", "main", ellipse(0, -0.7, 0.15, 0.18)),
        Part("marking", "shade", bar(0.05, -0.5, 0.05, 0.5, 0.03)),
        _box("base", "shade", -0.5, 0.55, 0.5, 0.68),
        _box("base", "main", -0.42, 0.68, 0.42, 0.98),
    ]
