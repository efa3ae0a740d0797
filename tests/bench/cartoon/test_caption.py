from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from bench.cartoon.caption import (
    CAPTION_TEMPLATES,
    Pictured,
    caption,
    caption_words,
    class_prompt,
    flip_caption,
)
from bench.cartoon.sample import sample_scene
from bench.cartoon.tile import sample_tile
from bench.cartoon.vocabulary import (
    BACKGROUND_WORDS,
    COLOUR_NAMES,
    DISPLAY_NAMES,
    PLURALS,
    WORD_STUFF,
)
from bench.cartoon.world import WorldConfig

SMALL = WorldConfig(size=64)


@pytest.fixture(scope="module")
def captioned() -> list[tuple[Pictured, str]]:
    rng = np.random.default_rng(0)
    pictures: list[Pictured] = [sample_scene(SMALL, 8, i) for i in range(120)]
    pictures += [sample_tile(SMALL, 8, i) for i in range(120)]
    return [(picture, caption(picture, rng)) for picture in pictures for _ in range(20)]


def named_classes(text: str) -> set[int]:
    return {
        c
        for c, (one, many) in enumerate(zip(DISPLAY_NAMES, PLURALS, strict=True))
        if re.search(rf"\b({one}|{many})\b", text)
    }


def without_template(text: str) -> str:
    """Drops the frame, because "a picture of" says nothing about a picture on the wall."""
    return re.sub(r"^(a|an)( \w+)? (photo|picture|image|drawing|rendering) of ", "", text)


def test_captions_name_only_present_classes(captioned: list[tuple[Pictured, str]]) -> None:
    for picture, text in captioned:
        assert named_classes(text) <= set(np.flatnonzero(picture.image_labels())), text


def test_captions_name_only_visible_stuff(captioned: list[tuple[Pictured, str]]) -> None:
    for picture, text in captioned:
        for word in re.findall(r"\w+", without_template(text)):
            if word in WORD_STUFF:
                assert set(WORD_STUFF[word]) & set(picture.stuff), text


def test_captions_name_only_colours_of_visible_objects(
    captioned: list[tuple[Pictured, str]],
) -> None:
    for picture, text in captioned:
        colours = {one.colour for one in picture.instances}
        assert set(text.split()) & set(COLOUR_NAMES) <= colours, text


def test_most_captions_name_every_class(captioned: list[tuple[Pictured, str]]) -> None:
    complete = [
        named_classes(text) == set(np.flatnonzero(picture.image_labels()))
        for picture, text in captioned
    ]
    assert 0.95 < np.mean(complete) < 1


def test_captions_use_known_words_only_and_every_background_word(
    captioned: list[tuple[Pictured, str]],
) -> None:
    used = Counter(word for _, text in captioned for word in re.findall(r"\w+", text))
    assert set(used) <= set(caption_words())
    assert set(BACKGROUND_WORDS) <= set(used)
    assert len(BACKGROUND_WORDS) == 25


def test_articles_are_right(captioned: list[tuple[Pictured, str]]) -> None:
    for _, text in captioned:
        assert not re.search(r"\ban [^aeiou]", text), text
        assert not re.search(r"\ba (two|three|a|an)\b", text), text
        bare = text.startswith("a photo of a ")  # CLIP's own template takes the name as it is
        assert bare or not re.search(r"\ba [aeiou]", text.removeprefix("a photo of a ")), text


def test_the_generator_alone_decides() -> None:
    scene = sample_scene(SMALL, 8, 3)
    texts = [caption(scene, np.random.default_rng(4)) for _ in range(2)]
    assert texts[0] == texts[1]
    assert len({caption(scene, np.random.default_rng(i)) for i in range(20)}) > 5


def test_positions_are_where_the_object_is() -> None:
    rng = np.random.default_rng(0)
    seen = Counter[str]()
    for index in range(150):
        scene = sample_scene(SMALL, 4, index, objects=1)
        x = scene.instances[0].centre[0]
        where = "left" if x < 0.4 else "right" if x > 0.6 else "middle"
        for _ in range(5):
            said = set(caption(scene, rng).rstrip(".").split()) & {"left", "right", "middle"}
            assert said <= {where}
            seen.update(said)
    assert min(seen[word] for word in ("left", "right", "middle")) > 3


@pytest.mark.parametrize(
    ("text", "flipped"),
    [
        ("a bright photo of a dog on the right", "a bright photo of a dog on the left"),
        ("a cat on the left and a cow on the right.", "a cat on the right and a cow on the left."),
        ("a car in the middle", "a car in the middle"),
    ],
)
def test_flipping_swaps_whole_words(text: str, flipped: str) -> None:
    assert flip_caption(text) == flipped
    assert flip_caption(flipped) == text


def test_class_prompts_are_sentences_of_the_world() -> None:
    assert class_prompt("a photo of {}", "aeroplane") == "a photo of an aeroplane"
    assert class_prompt("a photo of a {}", "aeroplane") == "a photo of a aeroplane"
    assert class_prompt("a photo of a {}.", "dog") == "a photo of a dog."
    assert class_prompt("a clean origami {}.", "dog") == "a clean origami dog."
    assert class_prompt("{}", "tv monitor") == "a tv monitor"
    known = set(caption_words())
    for template in CAPTION_TEMPLATES:
        for name in (*DISPLAY_NAMES, *BACKGROUND_WORDS):
            assert set(class_prompt(template, name).split()) <= known
