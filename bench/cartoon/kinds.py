"""The kinds of objects of CartoonVOC: names, synonyms, colours, places and drawing functions.

The first twenty are VOC's classes in VOC's order. Many of the others resemble one of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.cartoon.drawing import creatures, goods, machines, quadrupeds
from bench.cartoon.drawing.objects import DRAWERS
from bench.cartoon.vocabulary import (
    DISPLAY_NAMES,
    PLURALS,
    SCENES,
    TYPICAL_COLOURS,
)
from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.random import Generator

    from bench.cartoon.drawing.shapes import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of object.

    Attributes:
        name: Usual name in captions.
        plural: Plural of `name`.
        synonyms: Other names in captions.
        rare: Names that are rare in captions.
        colours: Typical colours.
        places: Key of `vocabulary.SCENES` -> weight of its co-occurrence with the place.
        flies: Whether it may be anywhere in the frame.
        draw: Returns its parts.
    """

    name: str
    plural: str
    synonyms: tuple[str, ...]
    rare: tuple[str, ...]
    colours: tuple[str, ...]
    places: Mapping[str, float]
    flies: bool
    draw: Callable[[Generator], list[Part]]


CLASS_NAMES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "aeroplane": (("airplane", "plane"), ("jet", "aircraft"), "airliner"),
    "bicycle": (("bike",), ("cycle", "racer"), "velocipede"),
    "bird": (("avian", "bird avian"), ("songbird", "sparrow"), "fowl"),
    "boat": (("ship",), ("vessel", "yacht"), "watercraft"),
    "bottle": (("glass bottle",), ("flask", "wine"), "phial"),
    "bus": (("coach",), ("omnibus", "shuttle"), "minibus"),
    "car": (("automobile",), ("sedan", "hatchback"), "auto"),
    "cat": (("kitten",), ("kitty", "tabby"), "feline"),
    "chair": (("seat", "chair seat"), ("armchair", "rocker"), "recliner"),
    "cow": (("cattle",), ("bull", "calf"), "bovine"),
    "dining table": (("diningtable", "table"), ("dinner table", "buffet"), "counter"),
    "dog": (("puppy",), ("hound", "terrier"), "canine"),
    "horse": (("pony",), ("mare", "stallion"), "steed"),
    "motorbike": (("motorcycle",), ("chopper", "motor bike"), "moped"),
    "person": (
        ("human", "person with clothes,people,human", "man", "woman"),
        ("boy", "girl", "child"),
        "individual",
    ),
    "potted plant": (("pottedplant", "plant"), ("houseplant", "flowerpot"), "shrub"),
    "sheep": (("lamb",), ("ewe", "ram"), "mutton"),
    "sofa": (("couch",), ("settee", "loveseat"), "divan"),
    "train": (("locomotive",), ("railcar", "express"), "steamer"),
    "tv monitor": (
        ("tvmonitor", "screen", "tvmonitor screen", "television", "tv"),
        ("monitor", "display"),
        "telly",
    ),
}
"""Class -> synonyms, rare names, and a name that is in no caption."""

UNSEEN_NAMES: tuple[str, ...] = tuple(CLASS_NAMES[name][2] for name in DISPLAY_NAMES)
"""A name of each class that is in no caption but in the vocabulary of the tokenizer."""

_FLYING = {"aeroplane", "bird"}


def _voc_kind(name: str, display: str, plural: str) -> Kind:
    synonyms, rare, _ = CLASS_NAMES[display]
    return Kind(
        name=display,
        plural=plural,
        synonyms=synonyms,
        rare=rare,
        colours=TYPICAL_COLOURS[name],
        places={
            place: kind.attracts[name] for place, kind in SCENES.items() if name in kind.attracts
        },
        flies=name in _FLYING,
        draw=DRAWERS[name],
    )


def _other(
    name: str,
    draw: Callable[[Generator], list[Part]],
    places: str,
    colours: str,
    synonyms: str = "",
    *,
    plural: str = "",
    flies: bool = False,
) -> Kind:
    return Kind(
        name=name,
        plural=plural or f"{name}s",
        synonyms=tuple(synonyms.split()),
        rare=(),
        colours=tuple(colours.split()),
        places=dict.fromkeys(places.split(), 1.0),
        flies=flies,
        draw=draw,
    )


_FARM, _WILD, _STREET = "grass ground mountain", "forest grass mountain", "road city"

KINDS: tuple[Kind, ...] = (
    *(_voc_kind(*names) for names in zip(VOC_CLASSES, DISPLAY_NAMES, PLURALS, strict=True)),
    _other("fox", quadrupeds.fox, _WILD, "orange red", "vixen", plural="foxes"),
    _other("wolf", quadrupeds.wolf, _WILD, "gray black white", plural="wolves"),
    _other("goat", quadrupeds.goat, _FARM, "white brown gray", "billy"),
    _other("donkey", quadrupeds.donkey, _FARM, "gray brown", "mule"),
    _other("deer", quadrupeds.deer, _WILD, "brown orange", "stag", plural="deer"),
    _other("pig", quadrupeds.pig, _FARM, "pink brown", "hog"),
    _other("zebra", quadrupeds.zebra, "grass ground", "white"),
    _other("giraffe", quadrupeds.giraffe, "grass ground", "yellow orange"),
    _other("camel", quadrupeds.camel, "ground", "brown yellow"),
    _other("elephant", quadrupeds.elephant, "grass ground", "gray"),
    _other("bear", quadrupeds.bear, _WILD, "brown black white", "grizzly"),
    _other("lion", quadrupeds.lion, "grass ground", "yellow orange"),
    _other("tiger", quadrupeds.tiger, "forest grass", "orange"),
    _other("rabbit", quadrupeds.rabbit, "grass forest", "white gray brown", "bunny"),
    _other("mouse", quadrupeds.mouse, "indoor ground", "gray brown", "rat", plural="mice"),
    _other("squirrel", quadrupeds.squirrel, "forest grass", "red brown gray"),
    _other(
        "duck", partial(creatures.waterfowl, long_neck=False), "water grass", "brown white yellow"
    ),
    _other("swan", partial(creatures.waterfowl, long_neck=True), "water", "white black", "goose"),
    _other("owl", partial(creatures.upright_bird, ear_tufts=True), "forest mountain", "brown gray"),
    _other("penguin", partial(creatures.upright_bird, ear_tufts=False), "water ground", "red blue"),
    _other("rooster", creatures.rooster, _FARM, "white brown red", "chicken"),
    _other("fish", creatures.fish, "water", "orange blue yellow", plural="fish"),
    _other("whale", creatures.whale, "water", "blue gray black"),
    _other("turtle", creatures.turtle, "ground grass water", "green brown", "tortoise"),
    _other(
        "butterfly", creatures.butterfly, "grass forest sky", "orange blue purple", "moth",
        plural="butterflies", flies=True,
    ),
    _other("snake", creatures.snake, "ground grass forest", "green yellow red", "serpent"),
    _other("frog", creatures.frog, "grass water forest", "green yellow", "toad"),
    _other("van", machines.van, _STREET, "white blue yellow", "minivan"),
    _other("truck", machines.truck, _STREET, "red blue white", "lorry"),
    _other("tractor", machines.tractor, "grass ground", "green red"),
    _other("scooter", machines.scooter, _STREET, "cyan red yellow", "vespa"),
    _other("tram", machines.tram, "city road", "red yellow green", "streetcar"),
    _other("helicopter", machines.helicopter, "sky mountain city", "red blue green", flies=True),
    _other("canoe", machines.canoe, "water", "red orange green", "kayak"),
    _other("balloon", machines.balloon, "sky mountain", "red yellow purple", flies=True),
    _other("rocket", machines.rocket, "sky ground", "white gray red", "spaceship", flies=True),
    _other("submarine", machines.submarine, "water", "yellow gray"),
    _other("vase", goods.vase, "indoor", "blue white purple", "urn"),
    _other("cup", goods.cup, "indoor", "white red blue", "mug"),
    _other("jug", goods.jug, "indoor", "brown white blue", "pitcher"),
    _other("stool", goods.stool, "indoor", "brown red white"),
    _other("bench", goods.bench, "city grass ground", "brown green", plural="benches"),
    _other("bed", goods.bed, "indoor", "blue red pink", "mattress"),
    _other("desk", goods.desk, "indoor", "brown white gray"),
    _other("laptop", goods.laptop, "indoor", "gray black blue", "notebook"),
    _other("lamp", goods.lamp, "indoor", "yellow white red", "lantern"),
    _other("clock", goods.clock, "indoor", "red blue yellow", "alarm"),
    _other("cactus", goods.cactus, "indoor ground", "orange brown", plural="cactuses"),
    _other("bookcase", goods.bookcase, "indoor", "brown white", "bookshelf"),
    _other("fridge", goods.fridge, "indoor", "white gray red", "refrigerator"),
    _other("suitcase", goods.suitcase, "indoor city railway", "brown blue red", "luggage"),
    _other("umbrella", goods.umbrella, "city ground road", "red blue purple", "parasol"),
    _other("guitar", goods.guitar, "indoor", "brown orange red"),
    _other("ball", goods.ball, "grass ground indoor", "red blue yellow"),
    _other("hat", goods.hat, "indoor", "black brown red", "cap"),
    _other("apple", goods.apple, "indoor", "red green yellow", "fruit"),
    _other("mushroom", goods.mushroom, "forest grass", "red brown", "toadstool"),
    _other("robot", goods.robot, "indoor city", "gray blue red", "android"),
    _other("snowman", goods.snowman, "ground mountain", "red blue green", plural="snowmen"),
    _other("statue", goods.statue, "city ground grass", "gray white green", "sculpture"),
)  # fmt: skip

CLASS_COUNT = len(VOC_CLASSES)
PLACE_NAMES = tuple(SCENES)

ATTRACTION = np.array([[kind.places.get(place, 0.0) for place in PLACE_NAMES] for kind in KINDS])
"""Co-occurrence weights of kinds and places, (kinds, places)."""

# Number of images of VOC 2012's segmentation `trainval` with each class, in VOC's order;
# from memory of the development kit's table, not compared with it.
_VOC_IMAGES = (
    178, 144, 208, 150, 183, 152, 255, 250, 271, 135,
    157, 249, 147, 157, 888, 167, 120, 183, 167, 157,
)  # fmt: skip
VOC_FREQUENCY = np.array(_VOC_IMAGES) / np.sum(_VOC_IMAGES)
"""Fraction of each class among the (image, class) pairs of VOC 2012's segmentation set."""
