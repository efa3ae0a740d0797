from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from weakclip.data.read.coco import COCO_CATEGORIES, coco_classes, list_coco, read_instances

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT: dict[str, Any] = {
    "images": [
        {"id": 9, "file_name": "b.jpg", "height": 6, "width": 8},
        {"id": 7, "file_name": "sub/a.jpg", "height": 6, "width": 8},
        {"id": 8, "file_name": "../c.jpg", "height": 6, "width": 8},
    ],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 90, "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 1, "iscrowd": 1},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
}


def written(folder: Path, **changes: object) -> Path:
    path = folder / "instances_own.json"
    path.write_text(json.dumps(CONTENT | changes))
    return path


def test_the_80_categories_are_numbered_in_two_ways(tmp_path: Path) -> None:
    assert len(COCO_CATEGORIES) == 80
    categories = [{"id": one, "name": name} for one, name in COCO_CATEGORIES.items()]
    instances = read_instances(written(tmp_path, categories=categories))
    contiguous, original = instances.labels("contiguous"), instances.labels("original")
    assert sorted(contiguous.values()) == list(range(1, 81))
    assert (contiguous[13], contiguous[90]) == (12, 80)
    assert (original[13], original[90]) == (13, 90)
    assert coco_classes(COCO_CATEGORIES, "contiguous")[11] == "stop sign"
    names = coco_classes(COCO_CATEGORIES, "original")
    assert (len(names), names[11], names[12]) == (90, "unused-12", "stop sign")
    assert sum(name.startswith("unused") for name in names) == 10


def test_an_id_that_does_not_fit_into_a_mask_is_refused(tmp_path: Path) -> None:
    categories = [*CONTENT["categories"], {"id": 255, "name": "void"}]
    instances = read_instances(written(tmp_path, categories=categories))
    assert instances.labels("contiguous") == {1: 1, 90: 2, 255: 3}
    with pytest.raises(ValueError, match="labels 1 to 254, got 255"):
        instances.labels("original")


def test_tags_come_from_all_annotations_crowds_too(
    tmp_path: Path, photo: Callable[..., None]
) -> None:
    photo(tmp_path / "b.jpg")
    photo(tmp_path / "sub" / "a.jpg")
    photo(tmp_path / "masks" / "b.png")
    files = list_coco(written(tmp_path), tmp_path, masks=tmp_path / "masks")
    assert files.names == ("b.jpg", "sub/a.jpg")
    assert files.classes == ("person", "toothbrush")
    assert files.image_labels.tolist() == [[True, True], [False, False]]
    assert files.masks == (tmp_path / "masks" / "b.png", None)
    assert files.image(1).shape == (3, 6, 8)
    assert [problem.name for problem in files.problems] == ["../c.jpg"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"image_id": 9, "category_id": 2}]}, "categories .* id 2"),
        ({"annotations": [{"image_id": 1, "category_id": 1}]}, "images .* id 1"),
        ({"annotations": [{"image_id": 9}]}, "category_id"),
        ({"images": None}, "damaged COCO JSON"),
    ],
)
def test_a_malformed_file_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_instances(written(tmp_path, **changes))


def test_a_cut_file_is_refused_and_a_missing_one_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match="damaged COCO JSON"):
        read_instances(path)
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        read_instances(tmp_path / "gone.json")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        list_coco(path, tmp_path / "nowhere")
