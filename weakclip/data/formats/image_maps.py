"""The maps of one image, independent of the file format they were read from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Kind = Literal["map", "probability", "logit"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageMaps:
    """The maps of one image."""

    labels: tuple[int, ...]
    """K labels of foreground classes, ascending: c + 1 for class c, as in a mask."""
    maps: NDArray[np.float32]
    """(K, h, w)."""
    background: NDArray[np.float32] | None = None
    """(h, w); None if the file has no background."""
    kind: Kind = "map"
    """Meaning of the values; `map`: larger values are more evidence, mostly in [0, 1]."""
    at_image_size: bool = True
    """Whether (h, w) must be the size of the image."""
    size: tuple[int, int] | None = None
    """(H, W) of the image, if stated in the file."""

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w)."""
        height, width = self.maps.shape[1:]
        return height, width

    def misfit(self, size: tuple[int, int]) -> str | None:
        """Why the maps cannot belong to an image of size (H, W); None if they can."""
        if self.size is not None:
            return None if self.size == size else f"maps of an image {self.size}, image {size}"
        if self.at_image_size:
            return None if self.shape == size else f"maps {self.shape}, image {size}"
        (height, width), (rows, columns) = size, self.shape
        lowest = max((rows - 1) / height, (columns - 1) / width)
        fits = lowest < min((rows + 1) / height, (columns + 1) / width)
        return None if fits else f"maps {self.shape} of another shape than the image {size}"

    def as_probabilities(self) -> ImageMaps:
        """The maps after a softmax over classes and background if they are logits, else as is."""
        if self.kind != "logit":
            return self
        rows = self.maps if self.background is None else np.stack([self.background, *self.maps])
        powers = np.exp(rows - rows.max(axis=0, keepdims=True))
        shares = powers / powers.sum(axis=0, keepdims=True)
        maps, background = (shares, None) if self.background is None else (shares[1:], shares[0])
        return replace(self, maps=maps, background=background, kind="probability")


def with_background(labels: Sequence[int], rows: NDArray[np.float32], *, kind: Kind) -> ImageMaps:
    """Maps of rows (K or K + 1, h, w), one of which may be the background, label 0.

    Without one the background is -inf for logits, else 0.

    Raises:
        ValueError: As for `maps_of`.
    """
    if len(labels) != len(rows):
        raise ValueError(f"expected a map for each of {len(labels)} labels, got {len(rows)}")
    front = [index for index, label in enumerate(labels) if label != BACKGROUND]
    behind = [index for index, label in enumerate(labels) if label == BACKGROUND]
    found = maps_of([labels[index] for index in front], rows[front])
    absent = np.full(rows.shape[1:], -np.inf if kind == "logit" else 0.0, dtype=np.float32)
    return replace(found, background=rows[behind[0]] if behind else absent, kind=kind)


def maps_of(
    labels: Sequence[int], maps: NDArray[np.float32], *, at_image_size: bool = True
) -> ImageMaps:
    """Maps (K, h, w) without a background, sorted by label.

    Raises:
        ValueError: If the numbers of maps and labels differ, a label is not a class or occurs
            twice, or a map is empty.
    """
    if len(labels) != len(maps):
        raise ValueError(f"expected a map for each of {len(labels)} labels, got {len(maps)}")
    if len(set(labels)) < len(labels) or any(not 0 < label < IGNORE for label in labels):
        raise ValueError(f"expected different labels from 1 to {IGNORE - 1}, got {list(labels)}")
    if 0 in maps.shape[1:]:
        raise ValueError(f"maps of {maps.shape[1]} x {maps.shape[2]} pixels")
    order = sorted(range(len(labels)), key=lambda index: labels[index])
    return ImageMaps(
        labels=tuple(labels[index] for index in order),
        maps=maps[order],
        at_image_size=at_image_size,
    )
