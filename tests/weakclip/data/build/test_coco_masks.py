from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pycocotools import mask as rle

from weakclip.data.build.coco_masks import class_mask
from weakclip.data.read.instances import CocoObject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weakclip.data.read.instances import Segmentation

SIZE = (6, 8)
LABELS = {1: 1, 90: 80}


def box(top: int, left: int, bottom: int, right: int) -> NDArray[np.bool_]:
    inside = np.zeros(SIZE, dtype=np.bool_)
    inside[top:bottom, left:right] = True
    return inside


def compressed(inside: NDArray[np.bool_]) -> dict[str, Any]:
    encoded = rle.encode(np.asfortranarray(inside, dtype=np.uint8))
    return {"size": list(SIZE), "counts": encoded["counts"].decode()}


def uncompressed(inside: NDArray[np.bool_]) -> dict[str, Any]:
    """Run lengths, column by column, beginning with zeros: written out by hand."""
    values = inside.flatten(order="F").tolist()
    counts, current = [0], False
    for value in values:
        if value == current:
            counts[-1] += 1
        else:
            counts.append(1)
            current = value
    return {"size": list(SIZE), "counts": counts}


def polygon(top: int, left: int, bottom: int, right: int) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def thing(
    number: int, category: int, segmentation: Segmentation, *, crowd: bool = False
) -> CocoObject:
    return CocoObject(id=number, category=category, crowd=crowd, segmentation=segmentation)


def region(segmentation: Segmentation) -> NDArray[np.bool_]:
    return class_mask([thing(1, 1, segmentation)], SIZE, LABELS).astype(np.bool_)


@pytest.mark.parametrize("corners", [(0, 0, 2, 3), (1, 2, 6, 8)])
def test_polygons_and_both_kinds_of_rle_are_the_same_region(
    corners: tuple[int, int, int, int],
) -> None:
    inside = box(*corners)
    for form in (polygon(*corners), compressed(inside), uncompressed(inside)):
        assert np.array_equal(region(form), inside)


def test_an_object_may_have_several_polygons() -> None:
    both = polygon(0, 0, 2, 2) + polygon(4, 5, 6, 8)
    assert np.array_equal(region(both), box(0, 0, 2, 2) | box(4, 5, 6, 8))


def test_the_smaller_object_is_in_front_whatever_the_order() -> None:
    large = thing(1, 1, polygon(0, 0, 6, 6))
    small = thing(2, 90, compressed(box(2, 2, 4, 8)))
    expected = np.where(box(2, 2, 4, 8), 80, np.where(box(0, 0, 6, 6), 1, 0))
    for objects in ((large, small), (small, large)):
        mask = class_mask(objects, SIZE, LABELS)
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, expected)


def test_of_equal_objects_the_later_id_is_in_front() -> None:
    one, two = thing(1, 1, polygon(0, 0, 2, 2)), thing(2, 90, polygon(0, 0, 2, 2))
    for objects in ((one, two), (two, one)):
        assert class_mask(objects, SIZE, LABELS)[0, 0] == 80


def test_crowds_are_void_behind_the_objects_or_their_class() -> None:
    crowd = thing(1, 1, uncompressed(box(0, 0, 1, 2)), crowd=True)
    large = thing(2, 90, polygon(0, 0, 6, 1))  # larger than the crowd, yet in front of it
    void = class_mask((large, crowd), SIZE, LABELS)
    assert void[0].tolist() == [80, 255, 0, 0, 0, 0, 0, 0]
    named = class_mask((large, crowd), SIZE, LABELS, crowd="class")
    assert named[0].tolist() == [80, 1, 0, 0, 0, 0, 0, 0]


def test_an_image_without_objects_is_background() -> None:
    assert not class_mask((), SIZE, LABELS).any()


def test_an_annotation_that_cannot_be_drawn_is_named() -> None:
    with pytest.raises(ValueError, match="annotation 7 has an empty segmentation"):
        class_mask([thing(7, 1, [])], SIZE, LABELS)


def test_equal_objects_of_one_id_are_painted_alike_in_any_order() -> None:
    one, two = thing(0, 1, polygon(0, 0, 2, 2)), thing(0, 90, polygon(0, 0, 2, 2))
    masks = [class_mask(objects, SIZE, LABELS) for objects in ((one, two), (two, one))]
    assert np.array_equal(masks[0], masks[1])


def test_objects_are_unpacked_one_at_a_time() -> None:
    """40 objects of 1 MB, which do not lie in memory together."""
    size = (1000, 1000)
    objects = [thing(number, 1, [[0, 0, 9, 0, 9, 9]]) for number in range(40)]
    tracemalloc.start()
    try:
        class_mask(objects, size, LABELS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8e6


@pytest.mark.parametrize(
    ("size", "message"), [((0, 0), "height and width"), ((200_000, 200_000), "pixels or fewer")]
)
def test_an_image_of_unknown_or_absurd_size_is_refused(size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_mask((), size, LABELS)
