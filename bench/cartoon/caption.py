"""Captions of CartoonVOC and of the pretraining images, in the style of captions on the web.

They omit objects, use synonyms and contain words that do not describe the image; a few do not
describe it at all. They never name an object that is not in the image.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from bench.cartoon.kinds import KINDS, UNSEEN_NAMES
from bench.cartoon.vocabulary import BACKGROUND_WORDS, COLOUR_NAMES, SCENES, WORD_STUFF
from weakclip.clip.tokens import VocabularyTokenizer, vocabulary_of

if TYPE_CHECKING:
    from numpy.random import Generator

    from bench.cartoon.kinds import Kind
    from bench.cartoon.world import Scene, Thing

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

_BARE = ("a photo of a {}", "a clean origami {}", "a cartoon {}")

_FRAMES = (
    *("{}", "{}", "{}", "a photo of {}", "a picture of {}", "an image of {}", "a drawing of {}"),
    *("there is {}", "here is {}", "look at {}", "a sketch of {}", "a painting of {}"),
    *("a cartoon of {}", "a postcard with {}", "this is {}", "a bad photo of {}"),
    *("a cropped photo of {}", "a bright photo of {}", "a rendering of {}", "we saw {}"),
)
_BARE_RATE = 0.15  # fraction of captions in the templates of `_BARE`
_PRAISE = (
    "beautiful", "lovely", "old", "new", "cheap", "famous", "funny", "favourite", "nice", "amazing",
    "cute", "typical", "modern",
)  # fmt: skip
_ENDINGS = (
    "for sale", "for kids", "on sunday", "last summer", "from our trip", "wallpaper", "by a friend",
    "in high quality", "number one", "with love", "for free", "again", "at last", "to print",
)  # fmt: skip
_EMPTY = (
    "welcome to our page", "image not found", "click here for more", "my holiday", "untitled",
    "best wishes to all of you", "new collection for sale", "what a day",
)  # fmt: skip
_WEATHER = {
    "rain": ("in the rain", "on a rainy day"),
    "snow": ("in the snow", "in winter"),
    "fog": ("in the fog", "on a misty morning"),
    "dusk": ("at sunset", "in the evening"),
    "night": ("at night", "in the dark"),
    "clear": ("on a sunny day",),
}
_NUMBERS = {2: "two", 3: "three"}
_MANY = "several"
_PROMPT_WORDS = ("background", "the", "plain", "only", "this")

_OMISSION, _SMALL_OMISSION, _SMALL_AREA = 0.2, 0.5, 0.04
_SYNONYM, _RARE = 0.18, 0.05
_COLOUR, _SIZE, _POSITION, _PRAISED, _NUMBERED = 0.4, 0.15, 0.12, 0.15, 0.6
_PLACE, _STUFF, _WEATHER_RATE, _ENDING, _ABOUT_NOTHING, _STOP = 0.4, 0.15, 0.2, 0.2, 0.02, 0.25


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


def caption(scene: Scene, generator: Generator) -> str:
    """A caption of a scene; the same state of the generator gives the same caption."""
    if generator.random() < _ABOUT_NOTHING:
        return _EMPTY[generator.integers(len(_EMPTY))]
    phrases = [_phrase(group, generator) for group in _chosen_groups(scene, generator)]
    words = [word for word in SCENES[scene.place].words if _visible(word, scene)]
    if not phrases:
        words = words or list(scene.stuff) or ["picture"]
        text = class_prompt(_template(generator), words[generator.integers(len(words))])
    else:
        text = _framed(phrases, generator)
        if words and generator.random() < _PLACE:
            text += _place(words[generator.integers(len(words))], generator)
    if scene.stuff and generator.random() < _STUFF:
        stuff = scene.stuff[generator.integers(len(scene.stuff))]
        text += f" with the {stuff}" if stuff not in text else ""
    if generator.random() < _WEATHER_RATE:
        said = _WEATHER[scene.weather]
        text += " " + said[generator.integers(len(said))]
    if generator.random() < _ENDING:
        text += " " + _ENDINGS[generator.integers(len(_ENDINGS))]
    return text + "." if generator.random() < _STOP else text


def _template(generator: Generator) -> str:
    return CAPTION_TEMPLATES[generator.integers(len(CAPTION_TEMPLATES))]


def _chosen_groups(scene: Scene, generator: Generator) -> list[list[Thing]]:
    """At most three kinds of visible objects in random order; small ones are often omitted.

    The kind with the largest area, of those chosen, is always kept.
    """
    groups: dict[int, list[Thing]] = {}
    for thing in scene.things:
        groups.setdefault(thing.kind, []).append(thing)
    order = list(groups.values())
    generator.shuffle(order)
    order = order[:3]
    if len(order) < 2:
        return order
    areas = [sum(thing.area for thing in group) for group in order]
    largest = max(areas)
    return [
        group
        for group, area in zip(order, areas, strict=True)
        if generator.random() >= (_SMALL_OMISSION if area < _SMALL_AREA else _OMISSION)
        or area == largest
    ]


def _phrase(group: list[Thing], generator: Generator) -> str:
    first = max(group, key=lambda thing: thing.area)
    coloured, sized, placed, praised, counted = generator.random(5) < (
        _COLOUR, _SIZE, _POSITION, _PRAISED, _NUMBERED,
    )  # fmt: skip
    words = []
    if praised:
        words.append(_PRAISE[generator.integers(len(_PRAISE))])
    many = len(group) > 1 and bool(counted)
    if sized and not many:
        words.append("large" if first.scale > 0.42 else "small" if first.scale < 0.28 else "medium")
    if coloured and first.colour and (not many or len({thing.colour for thing in group}) == 1):
        words.append(first.colour)
    if many:
        number = _NUMBERS.get(len(group), _MANY)
        return " ".join([number, *words, KINDS[first.kind].plural])
    phrase = with_article(" ".join([*words, _name(KINDS[first.kind], generator)]))
    where = "on the left" if first.x < 0.4 else "on the right" if first.x > 0.6 else "in the middle"
    return f"{phrase} {where}" if placed else phrase


def _name(kind: Kind, generator: Generator) -> str:
    draw = generator.random()
    names = kind.rare if draw < _RARE and kind.rare else kind.synonyms
    if draw < _RARE + _SYNONYM and names:
        return names[generator.integers(len(names))]
    return kind.name


def _framed(phrases: list[str], generator: Generator) -> str:
    text = " and ".join(phrases)
    if generator.random() < _BARE_RATE and text.startswith(("a ", "an ")):
        frame = _BARE[generator.integers(len(_BARE))]
        return frame.format(text.split(" ", 1)[1])
    frame = _FRAMES[generator.integers(len(_FRAMES))]
    if text.startswith(("two ", "three ", "several ")):
        frame = frame.replace("there is", "there are").replace("here is", "here are")
        frame = frame.replace("this is", "these are")
    return frame.format(text)


def _visible(word: str, scene: Scene) -> bool:
    return any(name in scene.stuff for name in WORD_STUFF[word])


def _place(word: str, generator: Generator) -> str:
    options = ("near the", "by the", "with the", "and the", "in front of the")
    return f" {options[generator.integers(len(options))]} {word}"


def caption_words() -> tuple[str, ...]:
    """All words of captions, prompts and class names, sorted."""
    texts = [*CAPTION_TEMPLATES, *_FRAMES, *_PRAISE, *_ENDINGS, *_EMPTY, *_PROMPT_WORDS]
    texts += [text for said in _WEATHER.values() for text in said]
    for kind in KINDS:
        texts += [kind.name, kind.plural, *kind.synonyms, *kind.rare]
    texts += [*UNSEEN_NAMES, *COLOUR_NAMES, *WORD_STUFF, *BACKGROUND_WORDS]
    texts += [*_NUMBERS.values(), _MANY, "large small medium left right middle . there here these"]
    texts.append("are is by with and the in front of near")
    words = {word for text in texts for word in text.replace("{}", " ").replace(",", " ").split()}
    return tuple(sorted(words))


@cache
def tokenizer(context_length: int) -> VocabularyTokenizer:
    """The tokenizer of micro-CLIP: its vocabulary is `caption_words`."""
    names = [name for kind in KINDS for name in (*kind.synonyms, *kind.rare)]
    return VocabularyTokenizer(vocabulary_of([*caption_words(), *names, ".", ","]), context_length)
