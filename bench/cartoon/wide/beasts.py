"""Animals that are no class of VOC, as lists of parts, back to front, facing right.

Most are one body plan with other ears, horns, necks and tails, so that look-alikes of VOC's classes
(a wolf for a dog, a donkey for a horse) differ in the details that tell them apart.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing.shapes import Part, bar, ellipse, polygon

if TYPE_CHECKING:
    from numpy.random import Generator

    from bench.cartoon.drawing.shapes import Paint


def quadruped(
    rng: Generator,
    *,
    body: tuple[float, float] = (0.6, 0.26),
    legs: tuple[float, float] = (0.6, 0.08),
    head: tuple[float, float, float, float] = (0.62, -0.28, 0.25, 0.22),
    neck: float = 0.0,
    muzzle: tuple[float, float, float, Paint] | None = None,
    ears: str = "pointed",
    horns: str = "",
    tail: str = "thin",
    marking: str = "",
    extras: tuple[str, ...] = (),
) -> list[Part]:
    """A four-legged animal from the side.

    Args:
        rng: Source of the small variations.
        body: Half axes of the trunk.
        legs: Length and half width.
        head: Centre and half axes.
        neck: Half width where it meets the trunk, 0 for none.
        muzzle: Length, half height, drop, and paint.
        ears: `pointed`, `round`, `long`, `large` or `hanging`.
        horns: Empty, `back`, `antlers` or `tusks`.
        tail: `thin`, `bushy`, `short`, `tuft` or `up`.
        marking: Empty, `stripes` or `spots`.
        extras: `mane`, `crest`, `hump`, `beard`, `trunk`.
    """
    u = rng.uniform
    (rx, ry), (length, width), (x, y, hx, hy) = body, legs, head
    y = y + u(-0.04, 0.04)
    parts = _tail(rng, tail, rx, ry)
    for foot in np.linspace(-0.8 * rx, 0.7 * rx, 4):
        bend = u(-0.08, 0.08)
        limb = bar(foot, 0.1, foot + bend, 0.1 + length, width, width * 0.8)
        parts.append(Part("leg", "main", limb))
    parts.append(Part("body", "main", ellipse(-0.05, 0.05, rx, ry)))
    if "hump" in extras:
        parts += [Part("body", "main", ellipse(s, -ry, 0.17, 0.22)) for s in (-0.3, 0.12)]
    if neck:
        root = 0.55 * rx
        column = polygon(
            *(root - neck, -0.3 * ry, x - 0.12, y - 0.05, x + 0.12, y + 0.05),
            *(root + neck, 0.5 * ry),
        )
        parts.append(Part("neck", "main", column))
        if "crest" in extras:
            crest = polygon(root - neck - 0.06, -ry, x - 0.2, y - 0.1, x - 0.05, y - 0.1, root, -ry)
            parts.append(Part("mane", "dark", crest))
    if marking:
        parts += _marking(rng, marking, rx, ry)
    if "mane" in extras:
        parts.append(Part("mane", "shade", ellipse(x, y, hx * 1.65, hy * 1.7)))
    parts += _horns(horns, x, y, hx, hy)
    parts += _ears(ears, x, y, hx, hy)
    if muzzle:
        reach, high, drop, paint = muzzle
        mx, my = x + hx * 0.75 + reach / 2, y + drop
        parts.append(Part("muzzle", paint, ellipse(mx - reach * 0.2, my, reach * 0.75, high)))
        parts.append(Part("nose", "dark", ellipse(mx + reach * 0.45, my - 0.02, 0.05, 0.05)))
    parts.append(Part("head", "main", ellipse(x, y, hx, hy)))
    if "trunk" in extras:
        for a, b in (((0.15, 0.05), (0.28, 0.4)), ((0.28, 0.4), (u(0.2, 0.4), 0.8))):
            limb = bar(x + a[0], y + a[1], x + b[0], y + b[1], 0.1, 0.08)
            parts.append(Part("muzzle", "main", limb))
    if "beard" in extras:
        beard = polygon(x, y + hy * 0.8, x + 0.18, y + hy * 0.8, x + 0.1, y + hy + 0.28)
        parts.append(Part("hair", "light", beard))
    parts.append(Part("eye", "light", ellipse(x + hx * 0.35, y - hy * 0.2, 0.055, 0.055)))
    parts.append(Part("eye", "dark", ellipse(x + hx * 0.4, y - hy * 0.2, 0.03, 0.035)))
    return parts


def _tail(rng: Generator, kind: str, rx: float, ry: float) -> list[Part]:
    u = rng.uniform
    root = -0.9 * rx
    if kind == "bushy":
        sag = u(0.05, 0.35)
        return [
            Part("tail", "main", ellipse(root - 0.2, sag, 0.3, 0.13, -0.4)),
            Part("tail", "light", ellipse(root - 0.4, sag + 0.1, 0.1, 0.09, -0.4)),
        ]
    if kind == "up":
        return [Part("tail", "shade", ellipse(root - 0.12, -0.35, 0.2, 0.5, 0.2))]
    if kind == "short":
        return [Part("tail", "light", ellipse(root - 0.08, -0.4 * ry, 0.11, 0.1))]
    end = u(0.1, 0.5)
    parts = [Part("tail", "shade", bar(root, -0.3 * ry, root - 0.28, end, 0.035, 0.025))]
    if kind == "tuft":
        parts.append(Part("tail", "dark", ellipse(root - 0.3, end, 0.09, 0.11)))
    return parts


def _ears(kind: str, x: float, y: float, hx: float, hy: float) -> list[Part]:
    sides = (-0.55, 0.25)
    if kind == "round":
        return [Part("ear", "shade", ellipse(x + s * hx, y - hy, 0.1, 0.1)) for s in sides]
    if kind == "large":
        return [Part("ear", "shade", ellipse(x - 0.75 * hx, y + 0.05, hx * 0.75, hy * 1.1))]
    if kind == "long":
        return [
            Part("ear", "shade", ellipse(x + s * hx, y - hy - 0.22, 0.075, 0.33, -0.15))
            for s in sides
        ]
    if kind == "hanging":
        return [Part("ear", "shade", ellipse(x - 0.7 * hx, y + 0.1, 0.12, 0.07, 0.9))]
    tips = [(x + s * hx, y - hy * 0.5) for s in sides]
    return [
        Part("ear", "main", polygon(a - 0.1, b, a - 0.04, b - 0.4, a + 0.12, b)) for a, b in tips
    ]


def _horns(kind: str, x: float, y: float, hx: float, hy: float) -> list[Part]:
    top = y - hy * 0.8
    if kind == "back":
        return [
            Part("horn", "horn", polygon(x + s, top, x + s - 0.34, top - 0.34, x + s + 0.1, top))
            for s in (-0.06, 0.08)
        ]
    if kind == "antlers":
        branches = []
        for s in (-1, 1):
            stem = (x + s * 0.28, top - 0.42)
            branches += [
                bar(x + s * 0.05, top, *stem, 0.03),
                bar(x + s * 0.17, top - 0.2, x + s * 0.05, top - 0.42, 0.025),
                bar(x + s * 0.22, top - 0.3, x + s * 0.42, top - 0.3, 0.025),
            ]
        return [Part("horn", "horn", branch) for branch in branches]
    if kind == "tusks":
        tusk = polygon(x + 0.1, y + 0.1, x + 0.45, y + 0.32, x + 0.12, y + 0.2)
        return [Part("horn", "horn", tusk)]
    return []


def _marking(rng: Generator, kind: str, rx: float, ry: float) -> list[Part]:
    if kind == "stripes":
        return [
            Part("marking", "dark", bar(s, -0.75 * ry, s + 0.06, 0.9 * ry, 0.035))
            for s in np.arange(-0.75 * rx, 0.75 * rx, 0.17)
        ]
    spots = [(rng.uniform(-0.7, 0.6) * rx, rng.uniform(-0.6, 0.6) * ry) for _ in range(9)]
    return [Part("marking", "shade", ellipse(x, y + 0.05, 0.08, 0.07)) for x, y in spots]


fox = partial(
    quadruped, body=(0.55, 0.2), legs=(0.55, 0.06), head=(0.58, -0.22, 0.22, 0.19),
    muzzle=(0.26, 0.08, 0.06, "light"), tail="bushy",
)  # fmt: skip
wolf = partial(
    quadruped, body=(0.62, 0.25), legs=(0.65, 0.075), muzzle=(0.32, 0.11, 0.05, "shade"),
    tail="bushy",
)  # fmt: skip
goat = partial(
    quadruped, body=(0.55, 0.28), legs=(0.6, 0.06), head=(0.62, -0.38, 0.2, 0.2), neck=0.14,
    muzzle=(0.2, 0.09, 0.08, "main"), ears="hanging", horns="back", tail="short",
    extras=("beard",),
)  # fmt: skip
donkey = partial(
    quadruped, body=(0.58, 0.27), legs=(0.75, 0.06), head=(0.72, -0.55, 0.22, 0.16), neck=0.2,
    muzzle=(0.24, 0.11, 0.1, "light"), ears="long", tail="tuft", extras=("crest",),
)  # fmt: skip
deer = partial(
    quadruped, body=(0.55, 0.22), legs=(0.8, 0.045), head=(0.66, -0.55, 0.18, 0.15), neck=0.14,
    muzzle=(0.2, 0.08, 0.06, "light"), horns="antlers", tail="short",
)  # fmt: skip
pig = partial(
    quadruped, body=(0.65, 0.38), legs=(0.5, 0.09), head=(0.62, -0.08, 0.27, 0.26),
    muzzle=(0.14, 0.13, 0.06, "pink"), tail="thin",
)  # fmt: skip
zebra = partial(
    quadruped, body=(0.58, 0.27), legs=(0.75, 0.065), head=(0.7, -0.6, 0.23, 0.15), neck=0.2,
    muzzle=(0.2, 0.1, 0.1, "dark"), tail="tuft", marking="stripes", extras=("crest",),
)  # fmt: skip
giraffe = partial(
    quadruped, body=(0.42, 0.2), legs=(0.85, 0.05), head=(0.55, -0.88, 0.16, 0.1), neck=0.12,
    muzzle=(0.16, 0.07, 0.04, "main"), ears="round", tail="tuft", marking="spots",
)  # fmt: skip
camel = partial(
    quadruped, body=(0.58, 0.24), legs=(0.8, 0.06), head=(0.82, -0.5, 0.17, 0.13), neck=0.12,
    muzzle=(0.2, 0.09, 0.05, "main"), ears="round", extras=("hump",),
)  # fmt: skip
elephant = partial(
    quadruped, body=(0.62, 0.42), legs=(0.75, 0.13), head=(0.6, -0.25, 0.28, 0.28), ears="large",
    horns="tusks", extras=("trunk",),
)  # fmt: skip
bear = partial(
    quadruped, body=(0.68, 0.4), legs=(0.6, 0.14), head=(0.62, -0.22, 0.28, 0.25),
    muzzle=(0.2, 0.11, 0.08, "shade"), ears="round", tail="short",
)  # fmt: skip
lion = partial(
    quadruped, body=(0.62, 0.26), legs=(0.6, 0.09), muzzle=(0.16, 0.1, 0.1, "light"),
    ears="round", tail="tuft", extras=("mane",),
)  # fmt: skip
tiger = partial(
    quadruped, body=(0.66, 0.27), legs=(0.58, 0.09), muzzle=(0.15, 0.1, 0.1, "light"),
    ears="round", marking="stripes",
)  # fmt: skip
rabbit = partial(
    quadruped, body=(0.5, 0.36), legs=(0.42, 0.11), head=(0.48, -0.28, 0.24, 0.22),
    muzzle=(0.1, 0.09, 0.06, "light"), ears="long", tail="short",
)  # fmt: skip
mouse = partial(
    quadruped, body=(0.55, 0.3), legs=(0.35, 0.05), head=(0.55, 0.0, 0.22, 0.18),
    muzzle=(0.22, 0.07, 0.06, "pink"), ears="round",
)  # fmt: skip
squirrel = partial(
    quadruped, body=(0.42, 0.3), legs=(0.42, 0.07), head=(0.45, -0.3, 0.22, 0.2),
    muzzle=(0.12, 0.08, 0.05, "light"), tail="up",
)  # fmt: skip


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
