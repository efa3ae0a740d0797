from __future__ import annotations

import numpy as np
import pytest

from bench.cartoon.caption import (
    CAPTION_TEMPLATES,
    caption,
    caption_words,
    class_prompt,
    tokenizer,
)
from bench.cartoon.kinds import KINDS, UNSEEN_NAMES
from bench.cartoon.pretraining.pool import CONTEXT, token_ids
from bench.cartoon.pretraining.web import sample_web
from bench.cartoon.vocabulary import BACKGROUND_WORDS, DISPLAY_NAMES
from bench.cartoon.world import WorldConfig

SMALL = WorldConfig(size=64)


def captions(count: int) -> list[tuple[set[int], str]]:
    pairs = []
    for index in range(count):
        scene = sample_web(SMALL, 5, index)
        generator = np.random.default_rng(index)
        kinds = {thing.kind for thing in scene.things}
        pairs += [(kinds, caption(scene, generator)) for _ in range(4)]
    return pairs


def names(kind: int) -> set[str]:
    one = KINDS[kind]
    return {one.name, one.plural, *one.synonyms, *one.rare}


PAIRS = captions(150)


def test_captions_use_known_words_and_never_the_unseen_names() -> None:
    words, said = set(caption_words()), set()
    for _, text in PAIRS:
        said |= set(text.replace(",", " ").rstrip(".").split())
    assert said <= words
    assert not said & set(UNSEEN_NAMES)
    tokenize = tokenizer(CONTEXT)
    assert all(tokenize.knows(name) for name in (*UNSEEN_NAMES, *BACKGROUND_WORDS))


def test_captions_omit_things_but_seldom_all_of_them() -> None:
    omitted = nothing = several = 0
    for kinds, text in PAIRS:
        named = {k for k in kinds if any(f" {n}" in f" {text}" for n in names(k))}
        if len(kinds) > 1:
            several += 1
            omitted += named < kinds
        nothing += bool(kinds) and not named
    assert 0.2 < omitted / several < 0.8
    assert nothing / len(PAIRS) < 0.06


def test_the_quick_token_ids_are_those_of_the_tokenizer() -> None:
    tokenize = tokenizer(CONTEXT)
    for _, text in PAIRS[:60]:
        ids = token_ids(text)
        assert ids == [token for token in tokenize([text])[0].tolist() if token], text


def test_the_tokenizer_refuses_a_word_that_no_caption_says() -> None:
    with pytest.raises(ValueError, match="spectrograph"):
        tokenizer(CONTEXT)(["a spectrograph"])


def test_the_generator_alone_decides() -> None:
    scene = sample_web(SMALL, 8, 3)
    texts = [caption(scene, np.random.default_rng(4)) for _ in range(2)]
    assert texts[0] == texts[1]
    assert len({caption(scene, np.random.default_rng(i)) for i in range(20)}) > 5


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
