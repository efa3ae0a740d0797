from __future__ import annotations

import numpy as np
import pytest

from bench.cartoon.vocabulary import BACKGROUND_WORDS
from bench.cartoon.wide.caption import web_caption, web_tokenizer, web_words
from bench.cartoon.wide.kinds import KINDS, UNSEEN_NAMES
from bench.cartoon.wide.pool import CONTEXT, token_ids
from bench.cartoon.wide.web import sample_web
from bench.cartoon.wide.world import WideConfig

SMALL = WideConfig(size=64)


def captions(count: int) -> list[tuple[set[int], str]]:
    pairs = []
    for index in range(count):
        scene = sample_web(SMALL, 5, index)
        generator = np.random.default_rng(index)
        kinds = {thing.kind for thing in scene.things}
        pairs += [(kinds, web_caption(scene, generator)) for _ in range(4)]
    return pairs


def names(kind: int) -> set[str]:
    one = KINDS[kind]
    return {one.name, one.plural, *one.synonyms, *one.rare}


PAIRS = captions(150)


def test_captions_use_known_words_and_never_the_unseen_names() -> None:
    words, said = set(web_words()), set()
    for _, text in PAIRS:
        said |= set(text.replace(",", " ").rstrip(".").split())
    assert said <= words
    assert not said & set(UNSEEN_NAMES)
    tokenizer = web_tokenizer(CONTEXT)
    assert all(tokenizer.knows(name) for name in (*UNSEEN_NAMES, *BACKGROUND_WORDS))


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
    tokenizer = web_tokenizer(CONTEXT)
    for _, text in PAIRS[:60]:
        ids = token_ids(text)
        assert ids == [token for token in tokenizer([text])[0].tolist() if token], text


def test_the_tokenizer_refuses_a_word_that_no_caption_says() -> None:
    with pytest.raises(ValueError, match="spectrograph"):
        web_tokenizer(CONTEXT)(["a spectrograph"])
