from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weakclip.data.formats.masks import write_mask
from weakclip.data.read.folder import list_folder
from weakclip.data.read.layouts import Layout, Place, images_of, layout_of, open_place
from weakclip.data.read.tagged import BadImage

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


def test_masks_of_another_folder_can_be_those_of_voc(
    tmp_path: Path, photo: Callable[..., None]
) -> None:
    write_voc(tmp_path / "voc", photo)
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks" / "a_mask.png", np.zeros((6, 8), dtype=np.uint8))
    files = open_place(Place(root=tmp_path / "voc", masks=tmp_path / "masks"))
    assert files.masks == (tmp_path / "masks" / "a_mask.png", None, None)
    assert files.reading == ("masks: found by names without words such as _mask or _gt",)
    assert open_place(Place(root=tmp_path / "voc")).masks == (None, None, None)


def test_an_image_of_another_case_or_suffix_is_asked_for_in_every_layout(
    coco: Path, tmp_path: Path, photo: Callable[..., None]
) -> None:
    write_voc(tmp_path / "voc", photo)
    images = tmp_path / "voc" / "JPEGImages"
    (images / "a.jpg").rename(images / "a.JPG")
    (images / "b.jpg").rename(images / "b.png")
    files = open_place(Place(root=tmp_path / "voc"))
    assert files.meant == {"a.jpg": "a.JPG", "b.jpg": "b.png"}
    bad = files.load(0)
    assert isinstance(bad, BadImage)
    assert bad.reason.endswith("did you mean 'a.JPG'?")
    (coco / "train2014" / "a.jpg").rename(coco / "train2014" / "A.jpeg")
    assert open_place(Place(root=coco, split="train2014")).meant == {"a.jpg": "A.jpeg"}


def test_masks_of_coco_that_are_called_otherwise_are_found_and_it_is_said(
    coco: Path, tmp_path: Path
) -> None:
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks" / "a_gt.png", np.zeros((6, 8), dtype=np.uint8))
    files = open_place(Place(root=coco, split="train2014", masks=tmp_path / "masks"))
    assert files.masks == (tmp_path / "masks" / "a_gt.png",)
    assert files.reading == ("masks: found by names without words such as _mask or _gt",)


def label(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, np.zeros((6, 8), dtype=np.uint8))


@pytest.mark.parametrize("named", ["a.jpg", "images/a.jpg"])
def test_images_beside_masks_are_images_and_masks(
    tmp_path: Path, photo: Callable[..., None], named: str
) -> None:
    photo(tmp_path / "images" / "a.jpg")
    label(tmp_path / "masks" / "a.png")
    (tmp_path / "labels.csv").write_text(f"file,labels\n{named},owl\n")
    (tmp_path / "classes.txt").write_text("0 background\n1 cat\n2 owl\n")
    assert layout_of(tmp_path) == "pairs"
    files = open_place(Place(root=tmp_path))
    assert (files.names, files.classes) == ((named,), ("cat", "owl"))
    assert files.image_labels.tolist() == [[False, True]]
    assert files.masks == (tmp_path / "masks" / "a.png",)
    assert files.reading[0] == "masks/: annotated masks, no images"
    root, names = images_of(Place(root=tmp_path))
    assert (root, names) == (tmp_path / "images", ("a.jpg",))


def test_folders_below_images_are_tags_and_masks_beside_are_none(
    tmp_path: Path, photo: Callable[..., None]
) -> None:
    photo(tmp_path / "images" / "owl" / "a.jpg")
    label(tmp_path / "Annotations" / "owl" / "a.png")
    files = open_place(Place(root=tmp_path))
    assert (files.names, files.classes) == (("owl/a.jpg",), ("owl",))
    assert files.masks == (tmp_path / "Annotations" / "owl" / "a.png",)


def test_masks_below_a_folder_of_images_are_no_class(
    tmp_path: Path, photo: Callable[..., None]
) -> None:
    photo(tmp_path / "owl" / "a.jpg")
    photo(tmp_path / "masks" / "of gold.png", seed=1)  # a class of that name
    label(tmp_path / "labels" / "a_mask.png")
    files = open_place(Place(root=tmp_path))
    assert files.names == ("masks/of gold.png", "owl/a.jpg")
    assert files.classes == ("masks", "owl")
    assert files.masks == (None, tmp_path / "labels" / "a_mask.png")
    assert "labels/: annotated masks, no images" in files.reading
    assert images_of(Place(root=tmp_path)) == (tmp_path, files.names)


def test_pictures_in_colour_called_masks_are_a_class(
    tmp_path: Path, photo: Callable[..., None]
) -> None:
    photo(tmp_path / "owl" / "1.png")
    photo(tmp_path / "masks" / "1.png", seed=1)
    assert open_place(Place(root=tmp_path)).classes == ("masks", "owl")


def test_trees_of_data_sets_are_no_classes(
    coco: Path, tmp_path: Path, photo: Callable[..., None]
) -> None:
    with pytest.raises(ValueError, match="is a tree of COCO"):
        list_folder(coco)
    write_voc(tmp_path / "devkit" / "VOC2012", photo)
    for root in (tmp_path / "devkit", tmp_path / "devkit" / "VOC2012"):
        with pytest.raises(ValueError, match=r"is a tree of VOC.*give .*VOC2012 to a command"):
            list_folder(root)
    photo(tmp_path / "pairs" / "images" / "a.jpg")
    label(tmp_path / "pairs" / "masks" / "a.png")
    with pytest.raises(ValueError, match=r"has images/ and their masks \(masks/\)"):
        list_folder(tmp_path / "pairs")


def test_images_of_a_tree_need_no_tags(
    coco: Path, tmp_path: Path, photo: Callable[..., None]
) -> None:
    voc = tmp_path / "voc"
    write_voc(voc, photo)
    assert images_of(Place(root=voc)) == (voc / "JPEGImages", ("a.jpg", "b.jpg", "c.jpg"))
    assert images_of(Place(root=voc, split="train")) == (voc / "JPEGImages", ("b.jpg", "a.jpg"))
    with pytest.raises(ValueError, match="unknown split 'test'"):
        images_of(Place(root=voc, split="test"))
    assert images_of(Place(root=coco, split="val2014"))[1] == ("a.jpg",)
