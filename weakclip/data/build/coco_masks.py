"""Class masks from COCO's objects: polygons, RLE and crowds painted into one label map.

Of overlapping instances the smaller one is in front, ties by annotation id, so that the mask does
not depend on the order of the file. Crowd regions are rough outlines of many objects: they are 255
behind the instances (COCO's own evaluation ignores them too), or of their class on request, as in
masks that others made from all annotations alike.

References:
    Lin et al. 2014, Microsoft COCO: Common Objects in Context; https://cocodataset.org/#format-data
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pycocotools import mask as rle

from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from weakclip.data.read.coco import CocoObject, Segmentation

Crowd = Literal["ignore", "class"]


def class_mask(
    objects: Sequence[CocoObject],
    size: tuple[int, int],
    labels: Mapping[int, int],
    *,
    crowd: Crowd = "ignore",
) -> NDArray[np.uint8]:
    """Paint the objects of an image by the conventions of this module.

    Args:
        objects: Its annotations.
        size: (H, W).
        labels: Mask label of each category id, see `Instances.labels`.
        crowd: What crowd regions become: 255, or their class.

    Returns:
        Labels, (H, W) uint8.

    Raises:
        ValueError: If a segmentation is malformed or of another size, or the size is unknown.
    """
    if min(size) < 1:
        raise ValueError(f"expected an image with height and width, got {size}")
    painted = np.full(size, BACKGROUND, dtype=np.uint8)
    layers = [(one, region(one.segmentation, size, one.id)) for one in objects]
    layers.sort(key=lambda layer: (not layer[0].crowd, -int(layer[1].sum()), layer[0].id))
    for one, inside in layers:
        void = one.crowd and crowd == "ignore"
        painted[inside] = IGNORE if void else labels[one.category]
    return painted


def region(segmentation: Segmentation, size: tuple[int, int], object_id: int) -> NDArray[np.bool_]:
    """The pixels of a segmentation: polygons, or RLE with a list or a string of counts.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: If it is malformed or of another size.
    """
    try:
        return _decode(_encode(segmentation, size))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            f"annotation {object_id}: malformed segmentation ({error}); "
            "use the file as it was published"
        ) from error


def _encode(segmentation: Segmentation, size: tuple[int, int]) -> dict[str, Any]:
    """Any of COCO's three forms as compressed RLE of the given size."""
    height, width = size
    if isinstance(segmentation, list):
        lengths = {len(polygon) for polygon in segmentation}
        if not lengths or min(lengths) < 6 or any(length % 2 for length in lengths):
            raise ValueError(f"polygons with {sorted(lengths)} numbers, expected even, at least 6")
        merged: dict[str, Any] = rle.merge(rle.frPyObjects(segmentation, height, width))
        return merged
    if segmentation is None:
        raise ValueError("there is none; tags alone give no masks")
    if tuple(segmentation["size"]) != size:
        raise ValueError(f"RLE of size {segmentation['size']}, expected {list(size)}")
    counts = segmentation["counts"]
    if isinstance(counts, str | bytes):
        return {"size": [height, width], "counts": counts}
    if sum(counts) != height * width or min(counts) < 0:
        raise ValueError(f"RLE counts {sum(counts)} pixels, expected {height * width}")
    encoded: dict[str, Any] = rle.frPyObjects(segmentation, height, width)
    return encoded


def _decode(encoded: dict[str, Any]) -> NDArray[np.bool_]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools, of NumPy 2's `copy`
        inside: NDArray[np.bool_] = rle.decode(encoded).astype(np.bool_)
    return inside
