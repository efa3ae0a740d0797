"""Four-legged animals that are not VOC classes, as lists of parts, back to front, facing right.

Most share one body plan with different ears, horns, necks and tails. So animals that resemble VOC
classes (wolf and dog, donkey and horse) differ only in distinguishing details.
"""

from __future__ import annotations

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
