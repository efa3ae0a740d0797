from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from weakclip.data.formats.masks import write_mask
from weakclip.data.read.voc import VOC_CLASSES, VOCDataset, list_voc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDS = ("2007_000032", "2007_000039", "2007_000063")
NAMES = {IDS[0]: ("aeroplane", "person"), IDS[1]: ("tvmonitor",), IDS[2]: ("dog", "dog")}


def annotation(names: tuple[str, ...]) -> str:
    objects = "".join(
        f"<object><name>{name}</name><difficult>{i}</difficult>"
        "<part><name>head</name></part></object>"
        for i, name in enumerate(names)
    )
    return f"<annotation><folder>VOC2012</folder>{objects}</annotation>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tiny VOC 2012: three images, the last one segmented in SegmentationClassAug only."""
    root = tmp_path / "VOC2012"
    for name in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationClassAug"):
        (root / name).mkdir(parents=True)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for number, name in enumerate(IDS):
        size = (10 + number, 20)
        Image.new("RGB", size, (200, 10 * number, 0)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(annotation(NAMES[name]))
        mask = np.full((20, 10 + number), number + 1, dtype=np.uint8)
        mask[0] = 255
        if number < 2:
            write_mask(root / "SegmentationClass" / f"{name}.png", mask)
        Image.fromarray(mask).save(root / "SegmentationClassAug" / f"{name}.png")
    (lists / "train.txt").write_text(f"{IDS[0]}\n{IDS[1]}\n")
    (lists / "val.txt").write_text(f"{IDS[2]}\n\n")
    pairs = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png\n" for name in IDS]
    (lists / "trainaug.txt").write_text("".join(pairs))
    return root


def write_list(root: Path, text: str) -> None:
    (root / "ImageSets" / "Segmentation" / "own.txt").write_text(text)


def test_a_sample_holds_image_mask_and_labels(root: Path) -> None:
    sample = VOCDataset(root, "train")[1]
    assert sample.image_id == "2007_000039"
    assert sample.image.shape == (20, 11, 3)
    assert sample.image.dtype == np.uint8
    assert abs(sample.image.mean(axis=(0, 1)) - (200, 10, 0)).max() < 4
    assert sample.gt_mask is not None
    assert sample.gt_mask.dtype == np.uint8
    assert np.unique(sample.gt_mask).tolist() == [2, 255]
    assert sample.image_labels.nonzero()[0].tolist() == [VOC_CLASSES.index("tvmonitor")]


def test_difficult_objects_count_and_parts_do_not(root: Path) -> None:
    labels = VOCDataset(root, "train").image_labels()
    assert labels.shape == (2, 20)
    assert labels.dtype == np.bool_
    assert labels[0].nonzero()[0].tolist() == [0, 14]


def test_a_split_can_be_iterated(root: Path) -> None:
    dataset = VOCDataset(root, "trainaug")
    assert len(dataset) == 3
    assert dataset.ids == IDS
    assert tuple(sample.image_id for sample in dataset) == IDS
    assert dataset[-1].image_id == IDS[2]


def test_pair_lists_name_their_masks(root: Path) -> None:
    mask = VOCDataset(root, "trainaug")[2].gt_mask
    assert mask is not None
    assert np.unique(mask).tolist() == [3, 255]


def test_plain_ids_fall_back_to_the_augmented_masks(root: Path) -> None:
    mask = VOCDataset(root, "val")[0].gt_mask
    assert mask is not None
    assert 3 in mask


def test_the_hash_is_that_of_the_ids_in_order(root: Path) -> None:
    expected = hashlib.sha256(f"{IDS[0]}\n{IDS[1]}\n".encode()).hexdigest()
    assert VOCDataset(root, "train").image_list_sha256 == expected
    write_list(root, f"{IDS[1]}\n{IDS[0]}\n")
    assert VOCDataset(root, "own").image_list_sha256 != expected


def test_a_split_without_any_mask_has_none(root: Path) -> None:
    for folder in ("SegmentationClass", "SegmentationClassAug"):
        for path in (root / folder).iterdir():
            path.unlink()
    assert VOCDataset(root, "train")[0].gt_mask is None


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        VOCDataset(tmp_path / "nowhere", "train")


def test_a_folder_that_is_no_voc_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    message = r"JPEGImages and ImageSets/Segmentation is missing \(found: photos\); give the folder"
    with pytest.raises(FileNotFoundError, match=message):
        VOCDataset(tmp_path, "train")


def test_a_parent_folder_points_to_the_root(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"did you mean .*VOC2012"):
        VOCDataset(root.parent, "train")


@pytest.mark.parametrize("split", ["trian", "../train", "", "/etc/passwd"])
def test_an_unknown_split_lists_the_known(root: Path, split: str) -> None:
    with pytest.raises(ValueError, match="Known: train, trainaug, val"):
        VOCDataset(root, split)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("JPEGImages", r"1 of 2 images \(JPEGImages\) are missing, the first is 2007_000032"),
        ("Annotations", r"1 of 2 annotations .* the first is 2007_000032"),
    ],
)
def test_a_missing_piece_is_named(root: Path, folder: str, message: str) -> None:
    next((root / folder).glob(f"{IDS[0]}.*")).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        VOCDataset(root, "train")


def test_a_missing_mask_is_named(root: Path) -> None:
    for folder in ("SegmentationClass", "SegmentationClassAug"):
        (root / folder / f"{IDS[0]}.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 masks .* the first is 2007_000032"):
        VOCDataset(root, "train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../secret", "own.txt:1: expected an image id"),
        ("a b c", "own.txt:1: expected an image id"),
        ("/JPEGImages/../../a.jpg /M/a.png", "own.txt:1: expected a path below the data root"),
        (f"{IDS[0]}\n{IDS[0]}", "2007_000032 is listed twice"),
        ("\n \n", "got an empty list"),
    ],
)
def test_a_malformed_list_is_refused(root: Path, line: str, message: str) -> None:
    write_list(root, line)
    with pytest.raises(ValueError, match=message):
        VOCDataset(root, "own")


@pytest.mark.parametrize("kept", [0, 100, 500])
def test_a_truncated_image_is_refused(root: Path, kept: int) -> None:
    path = root / "JPEGImages" / f"{IDS[0]}.jpg"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"2007_000032\.jpg: damaged image"):
        VOCDataset(root, "train")[0]


def test_a_damaged_annotation_is_refused(root: Path) -> None:
    (root / "Annotations" / f"{IDS[0]}.xml").write_text("<annotation><object>")
    with pytest.raises(ValueError, match=r"2007_000032\.xml: damaged annotation"):
        VOCDataset(root, "train").image_labels()


def test_an_unknown_class_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown class 'aeroplane'.*Known: cat, dog"):
        VOCDataset(root, "train", classes=("cat", "dog")).image_labels()


def test_a_mask_of_another_size_is_refused(root: Path) -> None:
    write_mask(root / "SegmentationClass" / f"{IDS[0]}.png", np.zeros((5, 5), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"expected the size of its image, \(20, 10\), got \(5, 5"):
        VOCDataset(root, "train")[0]


def test_a_label_that_is_no_class_is_refused(root: Path) -> None:
    write_mask(root / "SegmentationClass" / f"{IDS[0]}.png", np.full((20, 10), 21, dtype=np.uint8))
    with pytest.raises(ValueError, match="expected labels 0 to 20 and 255, got 21"):
        VOCDataset(root, "train")[0]


def nest(root: Path) -> None:
    """Images x/a.jpg and y/a.jpg, which only a list of pairs can name."""
    for folder in ("x", "y"):
        (root / "JPEGImages" / folder).mkdir()
        Image.new("RGB", (10, 20)).save(root / "JPEGImages" / folder / "a.jpg")


@pytest.mark.parametrize("read", [list_voc, VOCDataset])
def test_images_of_one_base_name_in_different_folders_are_refused_by_name(
    root: Path, read: Callable[[Path, str], object]
) -> None:
    nest(root)
    write_list(root, "/JPEGImages/x/a.jpg /m/x/a.png\n/JPEGImages/y/a.jpg /m/y/a.png\n")
    message = r"own\.txt: .*x/a\.jpg and .*y/a\.jpg are both called a and .*\(a\.xml\); rename one"
    with pytest.raises(ValueError, match=message):
        read(root, "own")


def test_images_of_one_base_name_in_different_lists_are_refused_by_name(root: Path) -> None:
    nest(root)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("/JPEGImages/x/a.jpg /m/x/a.png\n")
    (lists / "val.txt").write_text("/JPEGImages/y/a.jpg /m/y/a.png\n")
    assert list_voc(root, "val").names == ("JPEGImages/y/a.jpg",)
    with pytest.raises(ValueError, match=r"x/a\.jpg and .*y/a\.jpg are both called a"):
        list_voc(root)


def test_an_image_of_several_lists_is_listed_once(root: Path) -> None:
    assert list_voc(root).names == tuple(f"{name}.jpg" for name in IDS)


def test_ids_that_differ_in_case_are_two_images(root: Path) -> None:
    for name in ("a", "A"):
        Image.new("RGB", (10, 20)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(annotation(("dog",)))
    write_list(root, "a\nA\n")
    assert list_voc(root, "own").names == ("a.jpg", "A.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a\xff\n", "damaged list"), (b"a" * 300 + b"\n", "names of 240 bytes or fewer")],
)
def test_a_list_that_names_no_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list_voc(tmp_path, "train")
