"""Image-level tags with people's mistakes: some are missing, or there are some too many.

What a method may know is then wrong, in training and where its masks are restricted to the tags;
masks are scored against the annotation all the same.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongTags:
    """How tags are wrong.

    `missing`: each tag is missing with probability `rate`, but an image keeps one: people forget an
    object beside others, not the only one. Of an image with n tags each is missing with probability
    rate - rate^n / n, so one of an image with a single tag never is.

    `surplus`: for each tag of an image, with probability `rate`, one more that is wrong. Which one
    is drawn by how often it shares an image with that tag in the training split, as people add what
    is usually there too; for a tag that is always alone, by how often each class occurs.

    The draws of an image depend on its name and `draw` alone, so that it has the same tags in every
    list, and a larger rate keeps the mistakes of a smaller one.
    """

    kind: Literal["missing", "surplus"]
    rate: float
    """Probability, 0 to 1."""
    draw: int = 0
    """Of what is random. It is the same for all seeds of a training: the chance is in the images,
    each of which has its own."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate of wrong tags: expected 0 to 1, got {self.rate}")

    def applied(self, names: Sequence[str], image_labels: Tensor, seen: Tensor) -> Tensor:
        """Tags with mistakes.

        Args:
            names: Of N images.
            image_labels: Their tags, (N, F), bool.
            seen: Tags of the training split, (M, F), bool: what occurs with what.

        Returns:
            (N, F), bool; an image has a tag if and only if it had one.
        """
        known = seen.double().numpy()
        shared = known.T @ known
        np.fill_diagonal(shared, 0)
        often = known.sum(axis=0)
        found = image_labels.numpy().copy()
        for name, tags in zip(names, found, strict=True):
            code = zlib.crc32(name.encode(errors="surrogatepass"))
            chances = np.random.default_rng([self.draw, code]).random((2, len(tags)))
            if self.kind == "missing":
                self._forget(tags, chances[0])
            else:
                self._add(tags, chances, shared, often)
        return torch.from_numpy(found)

    def _forget(self, tags: NDArray[np.bool_], chances: NDArray[np.float64]) -> None:
        """Remove tags (F,) of an image, all but the one with the highest chance."""
        if tags.any():
            last = int(np.where(tags, chances, -1).argmax())
            tags &= chances >= self.rate
            tags[last] = True

    def _add(
        self,
        tags: NDArray[np.bool_],
        chances: NDArray[np.float64],
        shared: NDArray[np.float64],
        often: NDArray[np.float64],
    ) -> None:
        """Add wrong tags to (F,), each drawn with the classes that are not there yet."""
        for tag in np.flatnonzero(tags):
            if chances[0, tag] >= self.rate or tags.all():
                continue
            weights = np.where(tags, 0, shared[tag])
            if not weights.any():
                weights = np.where(tags, 0, often)
            if not weights.any():
                weights = np.where(tags, 0, 1.0)
            ends = weights.cumsum() / weights.sum()
            tags[int(np.searchsorted(ends, chances[1, tag], side="right"))] = True


def shares_wrong(image_labels: Tensor, right: Tensor) -> dict[str, float]:
    """How many tags are missing and surplus, each as a share of the right tags.

    Args:
        image_labels: (N, F), bool.
        right: The same without mistakes.
    """
    total = int(right.sum())
    wrong = {"tags_missing": right & ~image_labels, "tags_surplus": image_labels & ~right}
    return {name: int(each.sum()) / total for name, each in wrong.items()}
