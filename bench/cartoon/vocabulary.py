"""Names of the classes, colours, stuff, scenes and parts of CartoonVOC.

This module has tables only. Class indices are VOC's: class c (0-based) has label c + 1 in masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping


DISPLAY_NAMES: tuple[str, ...] = tuple(
    {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}.get(
        name, name
    )
    for name in VOC_CLASSES
)
"""Names of the classes in captions and prompts."""

PLURALS: tuple[str, ...] = tuple(
    {"bus": "buses", "person": "people", "sheep": "sheep"}.get(name, f"{name}s")
    for name in DISPLAY_NAMES
)

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 40, 40),
    "blue": (45, 70, 200),
    "green": (50, 150, 60),
    "yellow": (220, 200, 50),
    "white": (232, 232, 228),
    "black": (38, 38, 42),
    "brown": (125, 80, 45),
    "gray": (130, 130, 132),
    "orange": (228, 130, 40),
    "purple": (130, 60, 160),
    "pink": (230, 140, 170),
    "cyan": (60, 180, 190),
}
"""Named colours, RGB."""

COLOUR_NAMES = tuple(COLOURS)

TYPICAL_COLOURS: dict[str, tuple[str, ...]] = {
    "aeroplane": ("white", "gray"),
    "bicycle": ("red", "blue", "black"),
    "bird": ("cyan", "yellow", "red"),
    "boat": ("white", "blue", "red"),
    "bottle": ("green", "brown"),
    "bus": ("red", "yellow", "orange"),
    "car": ("red", "blue", "gray", "black"),
    "cat": ("orange", "gray", "black"),
    "chair": ("brown", "red"),
    "cow": ("white", "black", "brown"),
    "diningtable": ("brown", "white"),
    "dog": ("brown", "black", "yellow"),
    "horse": ("brown", "black"),
    "motorbike": ("red", "black", "green"),
    "person": ("blue", "red", "green", "pink", "purple"),
    "pottedplant": ("orange", "brown"),
    "sheep": ("white",),
    "sofa": ("purple", "green", "gray"),
    "train": ("green", "blue", "red", "gray"),
    "tvmonitor": ("black", "gray"),
}
"""Colours of a fraction `WorldConfig.typical_colour_rate` of the objects of a class."""

STUFF: tuple[str, ...] = (
    "sky", "cloud", "grass", "water", "road", "railway", "wall", "floor", "tree", "mountain",
    "building", "ground", "rock", "sign", "picture",
)  # fmt: skip
"""Kinds of background; `STUFF[i]` has id i + 1 in a stuff map, and objects have 0."""

STUFF_IDS: dict[str, int] = {name: i + 1 for i, name in enumerate(STUFF)}

STUFF_COLOURS: dict[str, tuple[int, int, int]] = {
    "sky": (130, 180, 225),
    "grass": (85, 140, 60),
    "water": (60, 115, 160),
    "road": (105, 105, 110),
    "railway": (120, 110, 100),
    "wall": (200, 185, 165),
    "floor": (150, 115, 80),
    "tree": (50, 95, 50),
    "mountain": (120, 115, 120),
    "building": (150, 135, 125),
    "ground": (190, 165, 120),
}
"""Mean RGB colour of the stuff that fills regions."""

WORD_STUFF: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in STUFF},
    **dict.fromkeys(("field", "meadow"), ("grass",)),
    **dict.fromkeys(("lake", "river", "sea", "ocean"), ("water",)),
    "street": ("road",),
    "railroad": ("railway",),
    "forest": ("tree",),
    "valley": ("mountain",),
    "rock": ("rock", "mountain"),
    "house": ("building",),
    **dict.fromkeys(("land", "sand"), ("ground",)),
}
"""Word -> stuff; a caption uses the word only if one of its kinds of stuff is visible."""

BACKGROUND_WORDS: tuple[str, ...] = (
    "ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river",
    "sea", "railway", "railroad", "cloud", "house", "mountain", "ocean", "road", "rock",
    "street", "valley", "sign", "field", "floor", "forest",
)  # fmt: skip
"""The 25 background prompts; captions use all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneKind:
    """One kind of place: its names, the classes that occur in it, and its stuff.

    Attributes:
        words: Names of the place in captions; each is used only if its stuff is visible.
        attracts: VOC class name -> relative weight of its co-occurrence with the place.
        upper: Stuff above the horizon.
        lower: Stuff below the horizon.
        rates: Stuff -> probability that it is added to the backdrop.
    """

    words: tuple[str, ...]
    attracts: Mapping[str, float]
    upper: str
    lower: str
    rates: Mapping[str, float]


_OPEN = {"mountain": 0.2, "cloud": 0.35}

SCENES: dict[str, SceneKind] = {
    "sky": SceneKind(
        words=("sky", "cloud"),
        attracts={"aeroplane": 5, "bird": 3},
        upper="sky",
        lower="sky",
        rates={"cloud": 1.0},
    ),
    "grass": SceneKind(
        words=("grass", "field", "meadow"),
        attracts={"sheep": 5, "cow": 4, "horse": 4, "dog": 2, "bird": 1, "person": 1, "cat": 0.5},
        upper="sky",
        lower="grass",
        rates={**_OPEN, "tree": 0.4, "rock": 0.25},
    ),
    "water": SceneKind(
        words=("water", "lake", "river", "sea", "ocean"),
        attracts={"boat": 7, "bird": 1.5, "person": 0.4},
        upper="sky",
        lower="water",
        rates={**_OPEN, "tree": 0.4, "rock": 0.25},
    ),
    "road": SceneKind(
        words=("road", "street"),
        attracts={"car": 4, "bus": 5, "motorbike": 3, "bicycle": 3, "person": 2.5, "dog": 0.4},
        upper="sky",
        lower="road",
        rates={**_OPEN, "building": 0.6, "tree": 0.4, "sign": 0.2},
    ),
    "railway": SceneKind(
        words=("railway", "railroad"),
        attracts={"train": 7, "person": 0.5},
        upper="sky",
        lower="railway",
        rates={**_OPEN, "tree": 0.4, "sign": 0.2},
    ),
    "indoor": SceneKind(
        words=("wall", "floor"),
        attracts={
            "chair": 3,
            "sofa": 3,
            "diningtable": 3,
            "tvmonitor": 4,
            "cat": 3,
            "bottle": 3,
            "pottedplant": 2.5,
            "dog": 1.2,
            "person": 1.5,
        },
        upper="wall",
        lower="floor",
        rates={"picture": 2 / 3},
    ),
    "forest": SceneKind(
        words=("tree", "forest"),
        attracts={"bird": 3, "bicycle": 1, "horse": 1, "person": 1, "dog": 1},
        upper="tree",
        lower="grass",
        rates={"tree": 1.0, "rock": 0.25},
    ),
    "mountain": SceneKind(
        words=("mountain", "valley", "rock"),
        attracts={
            "horse": 1.5,
            "person": 1,
            "sheep": 1,
            "cow": 1,
            "aeroplane": 1,
            "motorbike": 0.7,
        },
        upper="sky",
        lower="grass",
        rates={"mountain": 1.0, "cloud": 0.35, "rock": 0.25},
    ),
    "city": SceneKind(
        words=("building", "house"),
        attracts={
            "car": 1,
            "bus": 2,
            "person": 1,
            "motorbike": 1,
            "bicycle": 1,
            "pottedplant": 0.5,
        },
        upper="sky",
        lower="road",
        rates={**_OPEN, "building": 1.0, "sign": 0.2},
    ),
    "ground": SceneKind(
        words=("ground", "land", "sand"),
        attracts={
            "person": 1,
            "dog": 1,
            "motorbike": 1,
            "horse": 1,
            "boat": 0.3,
            "bird": 0.5,
            "pottedplant": 0.4,
            "chair": 0.3,
        },
        upper="sky",
        lower="ground",
        rates={**_OPEN, "tree": 0.4, "rock": 0.25},
    ),
}

PARTS: tuple[str, ...] = (
    "arm", "armrest", "back", "base", "beak", "body", "boiler", "bumper", "cabin", "cap",
    "chassis", "chimney", "collar", "crank", "cushion", "dish", "display", "door", "ear",
    "engine", "exhaust", "eye", "fleece", "flower", "foot", "fork", "frame", "hair", "hand",
    "handlebar", "head", "highlight", "horn", "hub", "hull", "label", "lamp", "leaf", "leg",
    "mane", "marking", "mast", "mouth", "mudguard", "muzzle", "neck", "nose", "pantograph",
    "plate", "pot", "rim", "saddle", "sail", "screen", "seat", "slat", "smoke",
    "stand", "tail", "tank", "tongue", "top", "torso", "trim", "udder", "wheel", "whisker",
    "window", "wing",
)  # fmt: skip
"""Names of object parts, shared by classes; `PARTS[i]` has id i + 1 in a part map."""

PART_IDS: dict[str, int] = {name: i + 1 for i, name in enumerate(PARTS)}
