from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from weakclip.data.read.layouts import Layout, Place, layout_of, open_place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3}],
    "categories": [{"id": 3, "name": "car"}],
}


@pytest.fixture
def coco(tmp_path: Path, photo: Callable[..., None]) -> Path:
    (tmp_path / "annotations").mkdir()
    for split in ("train2014", "val2014"):
        path = tmp_path / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(CONTENT))
    photo(tmp_path / "train2014" / "a.jpg")
    photo(tmp_path / "images" / "val2014" / "a.jpg")
    return tmp_path


def write_voc(root: Path, photo: Callable[..., None]) -> None:
    for name, tag in (("a", "bird"), ("b", "dodo"), ("c", None)):
        photo(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations").mkdir(exist_ok=True)
        if tag:
            xml = f"<annotation><object><name>{tag}</name></object></annotation>"
            (root / "Annotations" / f"{name}.xml").write_text(xml)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("b\na\n")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("c\n")


def test_the_layout_is_seen_from_the_folders(
    coco: Path, tmp_path: Path, photo: Callable[..., None]
) -> None:
    assert layout_of(coco) == "coco"
    assert layout_of(coco / "train2014") == "folder"
    write_voc(tmp_path / "voc", photo)
    assert layout_of(tmp_path / "voc") == "voc"
    with pytest.raises(FileNotFoundError, match="no such folder"):
        layout_of(tmp_path / "nowhere")


@pytest.mark.parametrize("split", ["train2014", "val2014"])
def test_coco_has_its_images_beside_its_annotations(coco: Path, split: str) -> None:
    files = open_place(Place(root=coco, split=split))
    assert files.classes == ("car",)
    assert files.image(0).shape == (3, 6, 8)


def test_coco_needs_to_know_the_split(coco: Path) -> None:
    with pytest.raises(ValueError, match="Known: train2014, val2014"):
        open_place(Place(root=coco))


def test_coco_annotations_may_lie_elsewhere(coco: Path) -> None:
    tags = (coco / "annotations" / "instances_val2014.json").rename(coco / "own.json")
    files = open_place(Place(root=coco / "train2014", tags=tags), "coco")
    assert files.root == coco / "train2014"


@pytest.mark.parametrize("layout", ["coco", "folder"])
def test_a_json_takes_the_order_of_the_classes(coco: Path, layout: Layout) -> None:
    tags = coco / "annotations" / "instances_train2014.json"
    place = Place(root=coco / "train2014", tags=tags, classes=("person", "unused-2", "car"))
    files = open_place(place, layout)
    assert files.classes == ("person", "unused-2", "car")
    assert files.image_labels.tolist() == [[False, False, True]]
    with pytest.raises(ValueError, match="unknown tag 'car'; did you mean 'cat'"):
        open_place(Place(root=coco / "train2014", tags=tags, classes=("cat",)), layout)


def test_voc_is_listed_however_incomplete(tmp_path: Path, photo: Callable[..., None]) -> None:
    write_voc(tmp_path, photo)
    files = open_place(Place(root=tmp_path))
    assert files.names == ("a.jpg", "b.jpg", "c.jpg")
    assert files.image_labels.any(dim=1).tolist() == [True, False, False]
    assert [problem.name for problem in files.problems] == ["b", "c"]
    assert "unknown class 'dodo'" in files.problems[0].reason
    train = open_place(Place(root=tmp_path, split="train", classes=("dodo", "bird")))
    assert train.names == ("b.jpg", "a.jpg")
    assert train.image_labels.tolist() == [[True, False], [False, True]]
    assert not train.problems


def test_a_folder_takes_its_csv(tmp_path: Path, photo: Callable[..., None]) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "labels.csv").write_text("file,labels\na.jpg,owl\n")
    assert open_place(Place(root=tmp_path)).classes == ("owl",)
