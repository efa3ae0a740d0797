from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pycocotools.coco import COCO

from weakclip.data.build.coco_masks import class_mask
from weakclip.data.formats.rle import write_coco_rle
from weakclip.data.read.coco import read_instances

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

CLASSES = ("cat", "dog", "tree frog")


@pytest.fixture
def masks() -> list[tuple[str, NDArray[np.uint8]]]:
    generator = np.random.default_rng(0)
    values = np.array([0, 1, 3, 255], dtype=np.uint8)
    drawn = [(f"ä {n}.jpg", generator.choice(values, (4 + n, 7))) for n in range(2)]
    return [*drawn, ("empty.jpg", np.zeros((2, 2), dtype=np.uint8))]


def test_masks_come_back_without_void(
    tmp_path: Path, masks: list[tuple[str, NDArray[np.uint8]]]
) -> None:
    assert write_coco_rle(tmp_path / "masks.json", masks, CLASSES) == 4
    instances = read_instances(tmp_path / "masks.json")
    assert tuple(instances.categories.values()) == CLASSES
    for image, (name, mask) in zip(instances.images, masks, strict=True):
        assert image.file_name == name
        objects = instances.objects.get(image.id, ())
        again = class_mask(objects, image.size, instances.labels("contiguous"))
        assert np.array_equal(again, np.where(mask == 255, 0, mask))
    assert [path.name for path in tmp_path.iterdir()] == ["masks.json"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_cocos_own_api_reads_the_file(
    tmp_path: Path, masks: list[tuple[str, NDArray[np.uint8]]]
) -> None:
    write_coco_rle(tmp_path / "masks.json", masks, CLASSES)
    coco = COCO(tmp_path / "masks.json")
    (frog,) = coco.loadAnns(coco.getAnnIds(imgIds=[1], catIds=coco.getCatIds(["tree frog"])))
    inside = masks[0][1] == 3
    assert np.array_equal(coco.annToMask(frog), inside)
    assert frog["area"] == inside.sum()
    rows, columns = inside.any(1).nonzero()[0], inside.any(0).nonzero()[0]
    size = [np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert frog["bbox"] == [columns[0], rows[0], *size]


def test_no_image_is_a_valid_file(tmp_path: Path) -> None:
    assert write_coco_rle(tmp_path / "masks.json", [], CLASSES) == 0
    assert json.loads((tmp_path / "masks.json").read_text())["images"] == []


def test_a_failure_half_way_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        yield "a.jpg", np.ones((2, 2), dtype=np.uint8)
        yield "b.jpg", np.full((2, 2), 4, dtype=np.uint8)

    with pytest.raises(ValueError, match="label 4: expected 0 to 3"):
        write_coco_rle(tmp_path / "masks.json", broken(), CLASSES)
    assert not list(tmp_path.iterdir())
