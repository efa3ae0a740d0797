from __future__ import annotations

import open_clip
import pytest

from weakclip.clip.tokens import (
    END,
    PAD,
    START,
    BytePairTokenizer,
    VocabularyTokenizer,
    vocabulary_of,
)

WORDS = ["a photo of a dog", "a cat."]


def tokenizer(context_length: int = 12) -> VocabularyTokenizer:
    return VocabularyTokenizer(vocabulary_of(WORDS), context_length)


def test_rows_are_clips_tokens_renumbered() -> None:
    tokenize = tokenizer()
    rows = tokenize(["a photo of a cat."])[0]
    base = open_clip.SimpleTokenizer(context_length=12)(["a photo of a cat."])[0]
    assert [tokenize.vocabulary[row] for row in rows] == base.tolist()


def test_the_end_token_keeps_the_highest_row() -> None:
    rows = tokenizer()(["a dog", "a photo of a dog"])
    assert rows.argmax(dim=1).tolist() == [3, 6]


def test_an_unknown_word_is_named() -> None:
    tokenize = tokenizer()
    assert tokenize.knows("a dog")
    assert not tokenize.knows("a zebra")
    with pytest.raises(ValueError, match=r"'zebra' in 'a zebra' is not in the vocabulary"):
        tokenize(["a zebra"])


def test_a_text_that_is_too_long_is_refused() -> None:
    tokenize = tokenizer(context_length=5)
    assert tokenize.fits("a dog .")
    assert not tokenize.fits("a photo of a dog")
    with pytest.raises(ValueError, match="expected at most 5"):
        tokenize(["a photo of a dog"])


@pytest.mark.parametrize("ids", [[], [PAD, START], [PAD, 5, 4, START, END], [1, START, END]])
def test_a_vocabulary_without_order_or_special_tokens_is_refused(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        VocabularyTokenizer(ids, 8)


def test_byte_pairs_are_open_clips_own_and_nothing_is_cut_off() -> None:
    tokenize = BytePairTokenizer(8)
    base = open_clip.SimpleTokenizer(context_length=8)(WORDS)
    assert tokenize(WORDS).equal(base)
    assert tokenize.knows("zebra")
    assert tokenize.fits("a photo of a dog")
    assert not tokenize.fits("a photo of a very old dog")
    with pytest.raises(ValueError, match=r"text of 9 tokens, expected at most 8: .*; shorten it"):
        tokenize(["a dog", "a photo of a very old dog"])
