"""Parts of the objects of VOC's classes, their colours by role, and their pose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing import animals, household, vehicles
from bench.cartoon.drawing.canvas import jitter
from bench.cartoon.vocabulary import COLOUR_NAMES, COLOURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    from bench.cartoon.drawing.canvas import Colour
    from bench.cartoon.drawing.shapes import Paint, Part

DRAWERS: dict[str, Callable[[Generator], list[Part]]] = {
    "aeroplane": vehicles.aeroplane,
    "bicycle": vehicles.bicycle,
    "bird": animals.bird,
    "boat": vehicles.boat,
    "bottle": household.bottle,
    "bus": vehicles.bus,
    "car": vehicles.car,
    "cat": animals.cat,
    "chair": household.chair,
    "cow": animals.cow,
    "diningtable": household.diningtable,
    "dog": animals.dog,
    "horse": animals.horse,
    "motorbike": vehicles.motorbike,
    "person": animals.person,
    "pottedplant": household.pottedplant,
    "sheep": animals.sheep,
    "sofa": household.sofa,
    "train": vehicles.train,
    "tvmonitor": household.tvmonitor,
}
"""Class -> function that returns its parts."""

TILT, TILT_IN_AIR = 0.12, 0.3
"""Standard deviation of the rotation of an object, radians."""

_SKIN = ((235, 195, 165), (200, 150, 115), (140, 95, 65), (95, 65, 45))
_HAIR = ((35, 28, 25), (100, 65, 35), (200, 165, 90), (120, 120, 120))
_WOOL = ((228, 222, 210), (190, 180, 165), (90, 80, 75))


def mix_paints(rng: Generator, colour: str) -> dict[Paint, Colour]:
    """Colour role -> RGB colour, for one object."""
    main = jitter(rng, COLOURS[colour], 14)
    second = COLOURS[COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))]]
    lift = 40 if main.mean() < 60 else 0  # the shade of black is gray
    return {
        "main": main,
        "second": jitter(rng, second, 14),
        "shade": main * 0.72 + lift,
        "dark": jitter(rng, (38, 38, 42), 8),
        "light": jitter(rng, (190, 215, 230), 15),
        "skin": jitter(rng, _SKIN[rng.integers(4)], 8),
        "hair": jitter(rng, _HAIR[rng.integers(4)], 8),
        "wool": jitter(rng, _WOOL[rng.choice(3, p=(0.7, 0.2, 0.1))], 8),
        "wood": jitter(rng, (110, 75, 45), 12),
        "leaf": jitter(rng, (55, 135, 55), 20),
        "beak": jitter(rng, (235, 150, 40), 12),
        "horn": np.array([215.0, 205.0, 180.0]),
        "pink": np.array([232.0, 160.0, 165.0]),
        "yellow": np.array([235.0, 215.0, 90.0]),
        "red": np.array([190.0, 60.0, 60.0]),
    }


def pose(rng: Generator, scale: float, tilt: float) -> NDArray[np.float64]:
    """Mirror, rotation, aspect and shear as a (2, 2) matrix for row vectors.

    Args:
        rng: Source of the pose.
        scale: Half the extent, fraction of the frame.
        tilt: Standard deviation of the rotation, radians.
    """
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    angle = rng.normal(0, tilt)
    aspect, shear = math.exp(rng.normal(0, 0.13)), rng.normal(0, 0.08)
    cos, sin = math.cos(angle), math.sin(angle)
    wide, high = scale * aspect, scale / aspect
    return np.array(
        [
            [wide * mirror * cos, wide * mirror * sin],
            [high * (shear - sin), high * cos],
        ]
    )
