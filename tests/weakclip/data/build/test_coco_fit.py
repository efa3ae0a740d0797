from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from weakclip.data.build.coco_fit import fitted
from weakclip.data.read.instances import CocoImage, CocoObject, Instances

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weakclip.data.read.instances import Segmentation

INSIDE: Segmentation = [[0, 0, 4, 0, 4, 4]]
BELOW: Segmentation = [[0, 0, 4, 0, 4, 8]]


def instances(
    size: tuple[int, int], *segmentations: Segmentation, name: str = "a.jpg"
) -> Instances:
    objects = [
        CocoObject(id=number, category=1, crowd=False, segmentation=one)
        for number, one in enumerate(segmentations, start=1)
    ]
    image = CocoImage(id=1, file_name=name, size=size)
    whole = CocoImage(id=2, file_name="b.jpg", size=(6, 8))
    other = [CocoObject(id=9, category=1, crowd=False, segmentation=INSIDE)]
    return Instances(images=(image, whole), categories={1: "cat"}, objects={1: objects, 2: other})


def fit(folder: Path, found: Instances) -> Instances:
    return fitted(found, folder, report=lambda _done, _total: None)


@pytest.fixture
def folder(tmp_path: Path, photo: Callable[..., None]) -> Path:
    """a.jpg and b.jpg of (6, 8)."""
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "b.jpg")
    return tmp_path


def test_what_is_whole_stays_as_it_is(folder: Path) -> None:
    found = instances((6, 8), INSIDE)
    assert fit(folder, found) == found


def test_bad_annotations_are_left_out_and_named(folder: Path) -> None:
    found = fit(folder, instances((6, 8), [], INSIDE, [[1, 1, 3, 3]]))
    assert [one.id for one in found.objects[1]] == [2]
    assert [problem.name for problem in found.problems] == [
        "annotation 1 (cat in a.jpg)", "annotation 3 (cat in a.jpg)",
    ]  # fmt: skip
    assert found.problems[0].reason == "has an empty segmentation: left out"


def test_an_image_without_whole_annotations_has_none(folder: Path) -> None:
    found = fit(folder, instances((6, 8), []))
    assert set(found.objects) == {2}
    assert len(found.images) == 2


def test_a_size_that_is_unknown_is_the_files(folder: Path) -> None:
    found = fit(folder, instances((0, 0), INSIDE))
    assert found.images[0].size == (6, 8)
    assert found.problems == ()
    assert found.notes == ("image a.jpg: size taken from the file",)


@pytest.mark.parametrize("size", [(8, 6), (7, 8), (6, 20)])
def test_a_wrong_size_is_said_and_the_files_taken_if_the_annotations_fit(
    folder: Path, size: tuple[int, int]
) -> None:
    found = fit(folder, instances(size, INSIDE))
    assert found.images[0].size == (6, 8)
    assert len(found.objects[1]) == 1
    (problem,) = found.problems
    assert problem.name == "image a.jpg"
    assert f"the JSON says {size[1]} x {size[0]} pixels, the file has 8 x 6" in problem.reason


@pytest.mark.parametrize(
    ("size", "segmentation", "message"),
    [
        ((8, 6), BELOW, "annotation 1 does not fit in"),
        ((8, 6), {"size": [8, 6], "counts": [48]}, r"annotation 1 has RLE of size \[8, 6\]"),
        ((8, 6), [], "annotation 1 has an empty segmentation"),
        ((12, 16), INSIDE, "it was resized"),
        ((3, 4), INSIDE, "it was resized"),
    ],
)
def test_an_image_whose_annotations_are_of_another_size_is_left_out(
    folder: Path, size: tuple[int, int], segmentation: Segmentation, message: str
) -> None:
    found = fit(folder, instances(size, segmentation))
    assert [image.id for image in found.images] == [2]
    assert set(found.objects) == {2}
    (problem,) = found.problems
    assert message.replace("\\", "") in problem.reason


def test_the_size_is_that_of_the_upright_image(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((8, 6, 3), dtype=np.uint8)).save(folder / "a.jpg", exif=exif)
    found = fit(folder, instances((6, 8), INSIDE))
    assert found.problems == ()
    found = fit(folder, instances((8, 6), INSIDE))
    assert [image.id for image in found.images] == [2]
    assert "once EXIF turns it" in found.problems[0].reason


def test_without_its_file_an_image_has_the_size_of_the_json(folder: Path) -> None:
    (folder / "a.jpg").unlink()
    assert fit(folder, instances((6, 8), INSIDE)).problems == ()
    found = fit(folder, instances((0, 0), INSIDE))
    assert "no width and height, and the file is missing" in found.problems[0].reason
    found = fit(folder, instances((200_000, 200_000), INSIDE))
    assert "pixels or fewer" in found.problems[0].reason
    assert [image.id for image in found.images] == [2]


def test_a_damaged_file_is_named_and_has_the_size_of_the_json(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"no picture")
    found = fit(folder, instances((6, 8), INSIDE))
    assert found.images[0].size == (6, 8)
    assert "damaged image" in found.problems[0].reason
    assert [image.id for image in fit(folder, instances((0, 0), INSIDE)).images] == [2]


@pytest.mark.parametrize("name", ["ä" * 150 + ".jpg", "x" * 250 + ".jpg", "y" * 300 + "/a.jpg"])
def test_a_name_that_no_file_can_have_costs_its_image(folder: Path, name: str) -> None:
    found = fit(folder, instances((6, 8), INSIDE, name=name))
    assert [image.id for image in found.images] == [2]
    assert "bytes or fewer" in found.problems[0].reason


def test_tags_alone_give_no_masks(folder: Path) -> None:
    found = instances((6, 8), None)
    with pytest.raises(ValueError, match=r"weakclip masks --tags"):
        fit(folder, replace(found, objects={1: found.objects[1]}))


def test_a_file_of_which_nothing_can_be_painted_is_refused(folder: Path) -> None:
    found = instances((6, 8), [])
    with pytest.raises(ValueError, match=r"none of its annotations .*e\.g\. annotation 1"):
        fit(folder, replace(found, objects={1: found.objects[1]}))
