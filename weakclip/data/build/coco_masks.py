"""Class masks from COCO's objects: polygons, RLE and crowd regions painted into one label map.

Where instances overlap, the smaller one is in front, and of equal ones that with the larger id, so
the mask does not depend on the order in the file. Crowd regions are rough outlines of many objects.
They become 255 behind the instances, as in COCO's own evaluation, which ignores them; or, if
requested, their class, as in masks made from all annotations without distinction.

References:
    Lin et al. 2014, Microsoft COCO: Common Objects in Context; https://cocodataset.org/#format-data
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, assert_never

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from weakclip.data.build.coco_outline import Polygons, Runs, outline_of
from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from weakclip.data.read.instances import CocoObject

Crowd = Literal["ignore", "class"]


def class_mask(
    objects: Sequence[CocoObject],
    size: tuple[int, int],
    labels: Mapping[int, int],
    *,
    crowd: Crowd = "ignore",
) -> NDArray[np.uint8]:
    """The objects of an image, painted by the conventions of this module: (H, W), uint8.

    `labels` has the mask label of each category id, see `Instances.labels`.

    Raises:
        ValueError: If a segmentation is malformed or for another size, or the size is unknown.
    """
    check_size(size)
    painted = np.full(size, BACKGROUND, dtype=np.uint8)
    layers = [(one, _drawn(one, size)) for one in objects]
    layers.sort(key=lambda layer: _depth(layer[0], layer[1], labels))
    for one, encoded in layers:
        void = one.crowd and crowd == "ignore"
        painted[_decoded(encoded)] = IGNORE if void else labels[one.category]
    return painted


def check_size(size: tuple[int, int]) -> None:
    """Check that an image of size (H, W) can be painted.

    Raises:
        ValueError: If the size is unknown, or exceeds the number of pixels that Pillow reads.
    """
    if min(size) < 1:
        raise ValueError(f"expected an image with height and width, got {size}")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > 2 * limit:  # Pillow raises from here on
        raise ValueError(f"expected an image of {2 * limit} pixels or fewer, got (H, W) {size}")


def _drawn(one: CocoObject, size: tuple[int, int]) -> dict[str, Any]:
    """An object as compressed RLE, so that only one of hundreds is decoded at a time."""
    try:
        return _encoded(outline_of(one.segmentation, size), size)
    except ValueError as error:
        raise ValueError(f"annotation {one.id} {error}") from error


def _depth(
    one: CocoObject, encoded: dict[str, Any], labels: Mapping[int, int]
) -> tuple[bool, int, int, int]:
    """Sort key of the painting order: crowds, then large objects, then small ids and labels."""
    return (not one.crowd, -int(rle.area(encoded)), one.id, labels[one.category])


def _encoded(outline: Polygons | Runs, size: tuple[int, int]) -> dict[str, Any]:
    """An outline as COCO's compressed RLE."""
    height, width = size
    match outline:
        case Polygons(rings):
            parts = rle.frPyObjects([ring.ravel().tolist() for ring in rings], height, width)
            encoded: dict[str, Any] = rle.merge(parts)
        case Runs(lengths):
            runs = {"size": [height, width], "counts": lengths.tolist()}
            encoded = rle.frPyObjects(runs, height, width)
        case _:
            assert_never(outline)
    return encoded


def _decoded(encoded: dict[str, Any]) -> NDArray[np.bool_]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools, of NumPy 2's `copy`
        inside: NDArray[np.bool_] = rle.decode(encoded).view(np.bool_)
    return inside
