"""Image-level tags with simulated annotator mistakes: missing tags, or surplus tags.

The method is given these tags in training and when its masks are restricted to the tags. The masks
are scored against the unchanged annotation.
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
    """Kind and rate of the mistakes in tags.

    `missing`: each tag is dropped with probability `rate`, but every image keeps one, because
    annotators overlook one object among several and not the only one. In an image with n tags each
    is missing with probability rate - rate^n / n, so a single tag is never missing.

    `surplus`: for each tag of an image, with probability `rate`, one wrong tag is added. It is
    drawn in proportion to its co-occurrence with that tag in the training split, because annotators
    add what is usually there too; for a tag without co-occurrence, by class frequency.

    The draws depend only on the image's name and on `draw`. So an image has the same tags in every
    list, and a larger rate keeps the mistakes of a smaller one.
    """

    kind: Literal["missing", "surplus"]
    rate: float
    """Probability, 0 to 1."""
    draw: int = 0
    """Random seed of the mistakes. It does not change with the seed of a training."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate of wrong tags: expected 0 to 1, got {self.rate}")

    def applied(self, names: Sequence[str], image_labels: Tensor, seen: Tensor) -> Tensor:
        """Tags with mistakes.

        Args:
            names: Names of N images.
            image_labels: Their tags, (N, F), bool.
            seen: Tags of the training split, (M, F), bool, for the co-occurrence of classes.

        Returns:
            Changed tags, (N, F), bool; an image has a tag if and only if it had one.
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
        """Drop tags, (F,), of an image in place; the one with the largest draw stays."""
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
        """Add wrong tags to (F,) in place, each drawn from the classes without a tag."""
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
    """Numbers of missing and of surplus tags, each divided by the number of right tags.

    Args:
        image_labels: Tags with mistakes, (N, F), bool.
        right: Right tags, (N, F), bool.
    """
    total = int(right.sum())
    wrong = {"tags_missing": right & ~image_labels, "tags_surplus": image_labels & ~right}
    return {name: int(each.sum()) / total for name, each in wrong.items()}
