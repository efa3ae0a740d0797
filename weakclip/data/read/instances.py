"""Types for the content of COCO's instances JSON: images, categories and objects.

`weakclip.data.read.coco_json` reads them, `weakclip.data.build.coco_masks` paints them.

References:
    Lin et al. 2014, Microsoft COCO: Common Objects in Context; https://cocodataset.org/#format-data
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weakclip.data.read.tagged import BadImage

Numbering = Literal["contiguous", "original"]
Segmentation = list[list[float]] | dict[str, Any] | None
"""Polygons [[x, y, ...], ...] or RLE {"size", "counts"}; None if the JSON has only tags."""
ImageId = int | str
UNKNOWN_SIZE = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoImage:
    """An image of the JSON."""

    id: ImageId
    file_name: str
    size: tuple[int, int]
    """(H, W); zeros if not stated in the JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoObject:
    """An annotation of the JSON."""

    id: int
    """Annotation id; 0 if there is none."""
    category: int
    crowd: bool
    segmentation: Segmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """Content of an instances JSON."""

    images: tuple[CocoImage, ...]
    categories: dict[int, str]
    """Names by id, in increasing order of ids."""
    objects: Mapping[ImageId, Sequence[CocoObject]]
    """Objects by image id; images without objects are absent."""
    problems: tuple[BadImage, ...] = ()
    """Entries that are left out, and other problems that make the result doubtful."""
    notes: tuple[str, ...] = ()
    """How unusual entries were interpreted."""

    def labels(self, numbering: Numbering) -> dict[int, int]:
        """Mask label of each category id; a ValueError if one is not in 1 to 254."""
        ids = list(self.categories)
        values = range(1, len(ids) + 1) if numbering == "contiguous" else ids
        labels = dict(zip(ids, values, strict=True))
        outside = [label for label in labels.values() if not BACKGROUND < label < IGNORE]
        if outside:
            raise ValueError(
                f"ids {numbering}: expected labels 1 to {IGNORE - 1}, got {outside[0]}; "
                "use contiguous ids or fewer categories"
            )
        return labels

    def tags(self, image_id: ImageId) -> frozenset[str]:
        """Category names of an image, crowd annotations included."""
        return frozenset(self.categories[one.category] for one in self.objects.get(image_id, ()))
