"""Tokenisers: CLIP's byte-pair encoding, in full or restricted to a small vocabulary.

The text tower of a CLIP has 49,408 token embeddings; the embedded micro-CLIP has seen a few
hundred words. Its vocabulary is the increasing list of the byte-pair ids it knows, so that the
end-of-text token still has the largest id and `argmax` finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import open_clip
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PAD, START, END = 0, 49406, 49407  # byte-pair ids of CLIP's tokenizer


class VocabularyTokenizer:
    """CLIP's byte-pair tokeniser with the ids of a vocabulary renumbered from 0.

    Args:
        vocabulary: Byte-pair ids known to the text tower, increasing; first `PAD`, last `END`.
        context_length: Length L of every row of ids, padding included.

    Raises:
        ValueError: If `vocabulary` is not increasing or lacks a special token.
    """

    def __init__(self, vocabulary: Sequence[int], context_length: int) -> None:
        ids = list(vocabulary)
        if ids != sorted(set(ids)) or ids[:1] != [PAD] or ids[-2:] != [START, END]:
            raise ValueError(
                f"vocabulary: expected increasing ids from {PAD} to {START}, {END}, got {ids[:3]}…"
            )
        self.context_length = context_length
        self.vocabulary = tuple(ids)
        self._base = open_clip.SimpleTokenizer(context_length=context_length)
        self._row = {token: row for row, token in enumerate(ids)}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token ids of each text: start, words, end, padded with 0.

        Args:
            texts: K texts.

        Returns:
            Token ids, (K, L), int64, in [0, V).

        Raises:
            ValueError: If a text has an unknown word or is too long for the context.
        """
        return torch.stack([self._encode(text) for text in texts])

    def __len__(self) -> int:
        """Number of token embeddings that the text tower needs."""
        return len(self.vocabulary)

    def knows(self, text: str) -> bool:
        """Whether every token of `text` is in the vocabulary."""
        return all(token in self._row for token in self._base.encode(text))

    def fits(self, text: str) -> bool:
        """Whether `text` with start and end token fits into the context."""
        return len(self._base.encode(text)) + 2 <= self.context_length

    def _encode(self, text: str) -> Tensor:
        tokens = [START, *self._base.encode(text), END]
        if len(tokens) > self.context_length:
            raise ValueError(
                f"text of {len(tokens)} tokens, expected at most {self.context_length}: {text!r}; "
                "shorten it"
            )
        unknown = [token for token in tokens if token not in self._row]
        if unknown:
            words = self._base.decode(unknown).strip()
            raise ValueError(
                f"{words!r} in {text!r} is not in the vocabulary of this CLIP; "
                "use other words or a CLIP with the full vocabulary"
            )
        row = torch.zeros(self.context_length, dtype=torch.int64)
        row[: len(tokens)] = torch.tensor([self._row[token] for token in tokens])
        return row


class BytePairTokenizer:
    """CLIP's byte-pair tokeniser as in open_clip, but a text that is too long is an error.

    Args:
        context_length: Length L of every row of ids, padding included.
        options: Tokeniser options of the model's description, e.g. `clean`.
    """

    def __init__(self, context_length: int, **options: str) -> None:
        self.context_length = context_length
        self._base = open_clip.SimpleTokenizer(context_length=context_length, **options)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token ids of each text: start, words, end, padded with 0.

        Args:
            texts: K texts.

        Returns:
            Token ids, (K, L), int64.

        Raises:
            ValueError: If a text is too long for the context.
        """
        for text in texts:
            if not self.fits(text):
                raise ValueError(
                    f"text of {len(self._base.encode(text)) + 2} tokens, expected at most "
                    f"{self.context_length}: {text!r}; shorten it"
                )
        ids: Tensor = self._base(list(texts))
        return ids

    def knows(self, text: str) -> bool:
        """True: byte pairs can encode every text."""
        return True

    def fits(self, text: str) -> bool:
        """Whether `text` with start and end token fits into the context."""
        return len(self._base.encode(text)) + 2 <= self.context_length


def vocabulary_of(texts: Sequence[str]) -> tuple[int, ...]:
    """The smallest vocabulary for all `texts`: sorted byte-pair ids with the special tokens."""
    base = open_clip.SimpleTokenizer()
    used = {token for text in texts for token in base.encode(text)}
    return tuple(sorted(used | {PAD, START, END}))
