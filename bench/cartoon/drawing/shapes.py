"""Outlines of the primitives of which objects are made, and the parts that have an outline.

Object coordinates: x to the right, y down, the object covers about [-1, 1] in both. An outline is
an (n, 2) float64 array of corners.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Outline = NDArray[np.float64]

Paint = Literal[
    "main", "second", "shade", "dark", "light", "skin", "hair", "wool", "wood",
    "leaf", "beak", "horn", "pink", "yellow", "red",
]  # fmt: skip
"""Colour role of a part. `main` is the colour that captions name, `shade` a darker `main`."""

_ANGLES = np.linspace(0, 2 * np.pi, 17)[:-1]
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # 16 corners


class Part(NamedTuple):
    """A named piece of an object.

    Attributes:
        name: One of `vocabulary.PARTS`.
        paint: Its colour role.
        outline: Corners in object coordinates, (n, 2).
        stroke: Half the line width, object units, of a part of which only the outline is drawn; 0
            for a filled part.
    """

    name: str
    paint: Paint
    outline: Outline
    stroke: float = 0.0


def ellipse(x: float, y: float, rx: float, ry: float, rotation: float = 0.0) -> Outline:
    """Ellipse around (x, y) with half axes `rx`, `ry`, rotated by `rotation` radians."""
    points = _CIRCLE * (rx, ry)
    if rotation:
        cos, sin = math.cos(rotation), math.sin(rotation)
        points = points @ np.array([[cos, sin], [-sin, cos]])
    moved: Outline = points + np.array((x, y))
    return moved


def rectangle(left: float, top: float, right: float, bottom: float) -> Outline:
    """Axis-parallel rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)


def polygon(*coordinates: float) -> Outline:
    """Polygon from x0, y0, x1, y1, ...

    Example:
        >>> polygon(0, 0, 1, 0, 1, 1).shape
        (3, 2)
    """
    return np.array(coordinates, dtype=np.float64).reshape(-1, 2)


def bar(
    x0: float, y0: float, x1: float, y1: float, width: float, end_width: float | None = None
) -> Outline:
    """Bar from (x0, y0) to (x1, y1); the widths are half its thickness at start and end."""
    end_width = width if end_width is None else end_width
    dx, dy = x1 - x0, y1 - y0
    length = math.hypot(dx, dy) + 1e-9
    nx, ny = -dy / length, dx / length
    return np.array(
        [
            [x0 + nx * width, y0 + ny * width],
            [x1 + nx * end_width, y1 + ny * end_width],
            [x1 - nx * end_width, y1 - ny * end_width],
            [x0 - nx * width, y0 - ny * width],
        ]
    )
