"""Captions of scenes: they name only what is visible, and sometimes not all of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from bench.cartoon.vocabulary import (
    BACKGROUND_WORDS,
    COLOUR_NAMES,
    DISPLAY_NAMES,
    PLURALS,
    SCENES,
    WORD_STUFF,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from bench.cartoon.world import Instance

CAPTION_TEMPLATES: tuple[str, ...] = (
    "a photo of a {}",
    "a photo of {}",
    "a clean origami {}",
    "a picture of {}",
    "an image of {}",
    "{}",
    "a drawing of {}",
    "a bad photo of {}",
    "a cropped photo of {}",
    "a bright photo of {}",
    "there is {}",
    "a rendering of {}",
    "a cartoon {}",
)
"""Templates of captions and prompts. Those in `_BARE` take a name without an article."""

_BARE = frozenset({"a photo of a {}", "a clean origami {}", "a cartoon {}"})
_NUMBERS = {2: "two", 3: "three"}
_MANY = "several"
_PLURAL_STARTS = (*_NUMBERS.values(), _MANY)
_UNCOUNTABLE = frozenset({"grass", "ground", "land", "ocean", "sand", "sea", "sky", "water"})
_ENCLOSING = frozenset({"sky", "cloud", "grass", "water", "tree", "mountain", "building"})
_BEARING = frozenset({"grass", "water", "road", "railway", "floor", "ground"})

_SCENERY_ALONE_RATE = 0.02
_SIZE_RATE, _SMALL, _LARGE = 0.35, 0.36, 0.46  # half extents, fraction of the frame
_COLOUR_RATE = 0.5
_NUMBER_RATE = 0.7
_POSITION_RATE = 0.2
_PLACE_RATE = 0.55
_EXTRA_RATE = 0.3
_FULL_STOP_RATE = 0.25


class Pictured(Protocol):
    """The properties of an image that captions use; implemented by `Scene` and `Tile`."""

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Objects with a visible pixel."""

    @property
    def place(self) -> str:
        """Key of `vocabulary.SCENES`."""

    @property
    def stuff(self) -> tuple[str, ...]:
        """Names of the visible stuff."""

    def image_labels(self) -> NDArray[np.bool_]:
        """Classes that count as present, (20,) bool."""


def class_prompt(template: str, name: str) -> str:
    """A template filled with a class name or background word in the same way as captions.

    Templates in the style of CLIP, such as "a photo of a {}", take the bare name, so that the model
    is trained on "a photo of a aeroplane" as well; all others take the name with an article.

    Example:
        >>> class_prompt("a drawing of {}", "aeroplane"), class_prompt("a clean origami {}", "dog")
        ('a drawing of an aeroplane', 'a clean origami dog')
    """
    return template.format(name if template.rstrip(".") in _BARE else with_article(name))


def with_article(name: str) -> str:
    """`name` after "a" or "an".

    Example:
        >>> with_article("orange cat")
        'an orange cat'
    """
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def caption(picture: Pictured, generator: Generator) -> str:
    """A sentence that names classes and often colours, sizes, numbers, positions and the place.

    Args:
        picture: The image to describe.
        generator: Source of all random choices; the same state gives the same sentence.

    Returns:
        Lower-case English; a quarter of the sentences end in a full stop.
    """
    phrases = _object_phrases(picture, generator)
    place_words = _visible_words(SCENES[picture.place].words, picture.stuff)
    template = CAPTION_TEMPLATES[generator.integers(len(CAPTION_TEMPLATES))]
    if not phrases or generator.random() < _SCENERY_ALONE_RATE:
        words = place_words or list(picture.stuff) or ["picture"]
        text = class_prompt(template, words[generator.integers(len(words))])
    else:
        text = _frame(template, " and ".join(phrases))
        if place_words and generator.random() < _PLACE_RATE:
            word = place_words[generator.integers(len(place_words))]
            text += " " + _place_clause(word, generator)
    extras = [name for name in picture.stuff if not _mentions(text, name)]
    if extras and generator.random() < _EXTRA_RATE:
        text += " and " + _noun(extras[generator.integers(len(extras))])
    return text + "." if generator.random() < _FULL_STOP_RATE else text


def flip_caption(text: str) -> str:
    """The caption of the mirrored image: the words left and right are exchanged.

    Example:
        >>> flip_caption("a bright photo of a dog on the left.")
        'a bright photo of a dog on the right.'
    """
    return re.sub(r"\b(left|right)\b", lambda m: "left" if m[0] == "right" else "right", text)


def caption_words() -> tuple[str, ...]:
    """Every word that captions and prompts can contain, sorted: the vocabulary of a text tower."""
    frames = " ".join(CAPTION_TEMPLATES).replace("{}", " ")
    names = " ".join((*DISPLAY_NAMES, *PLURALS, *COLOUR_NAMES, *WORD_STUFF, *BACKGROUND_WORDS))
    glue = "a an and are in the on near with left right middle small medium large"
    return tuple(sorted({*frames.split(), *names.split(), *glue.split(), *_PLURAL_STARTS}))


def _object_phrases(picture: Pictured, generator: Generator) -> list[str]:
    """One noun phrase per visible class, in random order."""
    present = picture.image_labels()
    groups: dict[int, list[Instance]] = {}
    for one in picture.instances:
        if present[one.class_index]:
            groups.setdefault(one.class_index, []).append(one)
    order = list(groups)
    generator.shuffle(order)
    return [_object_phrase(groups[c], generator) for c in order]


def _object_phrase(group: list[Instance], generator: Generator) -> str:
    """A noun phrase for all visible instances of one class."""
    first = max(group, key=lambda one: one.visible_area)
    size_said, colour_said, number_said, position_said = generator.random(4) < (
        _SIZE_RATE, _COLOUR_RATE, _NUMBER_RATE, _POSITION_RATE,
    )  # fmt: skip
    together = len(group) > 1 and bool(number_said)
    words = []
    if size_said and not together:
        size = first.scale
        words.append("large" if size > _LARGE else "small" if size < _SMALL else "medium")
    if colour_said and first.colour and (not together or len({o.colour for o in group}) == 1):
        words.append(first.colour)
    if together:
        number = _NUMBERS.get(len(group), _MANY)
        return " ".join([number, *words, PLURALS[first.class_index]])
    phrase = with_article(" ".join([*words, DISPLAY_NAMES[first.class_index]]))
    return f"{phrase} {_position(first.centre[0])}" if position_said else phrase


def _position(x: float) -> str:
    return "on the left" if x < 0.4 else "on the right" if x > 0.6 else "in the middle"


def _frame(template: str, phrase: str) -> str:
    """The template filled with a phrase that has its own article or number."""
    if template in _BARE:
        phrase, articles = re.subn(r"^an? ", "", phrase)
        if not articles:  # "a photo of a two cars" is ungrammatical
            template = template.replace(" of a {}", " of {}")
            template = template.replace("a clean origami {}", "clean origami {}")
            template = template.replace("a cartoon {}", "cartoon {}")
    if template.startswith("there is") and phrase.startswith(_PLURAL_STARTS):
        template = template.replace("there is", "there are")
    return template.format(phrase)


def _visible_words(words: tuple[str, ...], stuff: tuple[str, ...]) -> list[str]:
    return [word for word in words if any(name in stuff for name in WORD_STUFF[word])]


def _mentions(text: str, stuff: str) -> bool:
    """Whether a word of the text already names this stuff."""
    return any(stuff in WORD_STUFF.get(word, ()) for word in text.split())


def _place_clause(word: str, generator: Generator) -> str:
    """The word with a suitable preposition: "in the forest", "near the road"."""
    stuff = WORD_STUFF[word][0]
    options = [f"near the {word}", f"with {_noun(word)}", f"and {_noun(word)}"]
    if stuff in _ENCLOSING:
        options.append(f"in the {word}")
    if stuff in _BEARING:
        options.append(f"on the {word}")
    return options[generator.integers(len(options))]


def _noun(word: str) -> str:
    return word if word in _UNCOUNTABLE else with_article(word)
