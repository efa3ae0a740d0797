"""Text to token ids: CLIP's own byte pairs, or only those that a small text tower has rows for.

A CLIP text tower carries 49,408 embedding rows; the embedded micro-CLIP has seen a hundred words.
Its vocabulary is the list of the byte-pair ids that it knows, in increasing order, so that the
end-of-text token stays the highest id and `argmax` still finds it.
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
    """CLIP's byte-pair tokenizer with its ids renumbered to the known ones.

    Args:
        vocabulary: Byte-pair ids that the text tower knows, increasing, first `PAD`, last `END`.
        context_length: Length L of every token row, padding included.

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
        """Token ids of each text: start, words, end, zero padding.

        Args:
            texts: K texts.

        Returns:
            Token ids, (K, L), int64, in [0, V).

        Raises:
            ValueError: If a text has an unknown word or is too long for the context.
        """
        return torch.stack([self._encode(text) for text in texts])

    def __len__(self) -> int:
        """Number of rows that the text tower's embedding needs."""
        return len(self.vocabulary)

    def knows(self, text: str) -> bool:
        """Whether every word of `text` has a row in the vocabulary."""
        return all(token in self._row for token in self._base.encode(text))

    def fits(self, text: str) -> bool:
        """Whether `text` with its start and end is no longer than the context."""
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
    """CLIP's byte-pair tokenizer, which open_clip ships, refusing what it would cut off.

    Args:
        context_length: Length L of every token row, padding included.
        options: What a model's description says of its tokenizer, e.g. `clean`.
    """

    def __init__(self, context_length: int, **options: str) -> None:
        self.context_length = context_length
        self._base = open_clip.SimpleTokenizer(context_length=context_length, **options)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token ids of each text: start, words, end, zero padding.

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
        """Always: byte pairs spell every text."""
        return True

    def fits(self, text: str) -> bool:
        """Whether `text` with its start and end is no longer than the context."""
        return len(self._base.encode(text)) + 2 <= self.context_length


def vocabulary_of(texts: Sequence[str]) -> tuple[int, ...]:
    """The smallest vocabulary that encodes all `texts`: sorted byte-pair ids, special ones too."""
    base = open_clip.SimpleTokenizer()
    used = {token for text in texts for token in base.encode(text)}
    return tuple(sorted(used | {PAD, START, END}))
