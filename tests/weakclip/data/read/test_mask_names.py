from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest

from weakclip.data.read.mask_names import find_masks, mask_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IMAGES = ("a.jpg", "x/b.jpg")


def found(root: Path, files: Sequence[str], names: Sequence[str] = IMAGES) -> list[str | None]:
    """Paths below the folder of the masks that belong to the images."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    paths = find_masks(root, names).paths
    return [None if path is None else path.relative_to(root).as_posix() for path in paths]


@pytest.mark.parametrize(
    "pattern",
    [
        "{}.png", "{}.PNG", "{}.tif", "{}.TIFF", "{}.bmp", "{}.gif", "{}.npy", "{}.jpg",
        "{}.jpg.png", "{}.jpg.tif",
    ],
)  # fmt: skip
def test_a_mask_has_the_path_of_its_image_or_all_of_its_name(tmp_path: Path, pattern: str) -> None:
    masks = [pattern.format("a"), pattern.format("x/b")]
    assert found(tmp_path, masks) == masks
    assert find_masks(tmp_path, IMAGES).reading == ()


@pytest.mark.parametrize(
    "pattern",
    [
        "{}_mask.png", "{}-seg.tif", "{}_gt.png", "{}_MASK.PNG", "{}.label.png", "{} mask.png",
        "{}_gtFine_labelIds.png", "{}.jpg_mask.png", "{}Mask.png", "{} (mask).png",
        "{}_segmentation_mask.npy",
    ],
)  # fmt: skip
def test_words_around_a_name_are_looked_past_if_nothing_matches_otherwise(
    tmp_path: Path, pattern: str
) -> None:
    masks = [pattern.format("a"), pattern.format("x/b")]
    assert found(tmp_path, masks) == masks
    assert "words such as _mask" in find_masks(tmp_path, IMAGES).reading[0]


def test_words_may_stand_before_the_name_and_in_that_of_the_image(tmp_path: Path) -> None:
    assert found(tmp_path, ["mask_1.png"], ["1_sat.jpg"]) == ["mask_1.png"]


def test_other_folders_and_other_case_are_looked_past(tmp_path: Path) -> None:
    deep = ("x/a.jpg", "y/b.jpg")
    assert found(tmp_path / "flat", ["a.png", "b.png"], deep) == ["a.png", "b.png"]
    assert "other folders" in find_masks(tmp_path / "flat", deep).reading[0]
    assert found(tmp_path / "deep", ["p/a.png", "q/b_gt.png"]) == ["p/a.png", "q/b_gt.png"]
    assert found(tmp_path / "case", ["A.png", "X/B.png"]) == ["A.png", "X/B.png"]
    nfd = unicodedata.normalize("NFD", "é.png")
    assert found(tmp_path / "form", [nfd], ["é.jpg"]) == [nfd]
    assert "case or Unicode form" in find_masks(tmp_path / "form", ["é.jpg"]).reading[0]


def test_one_mask_is_never_that_of_two_images_of_different_folders(tmp_path: Path) -> None:
    assert found(tmp_path, ["a.png"], ["x/a.jpg", "y/a.jpg"]) == [None, None]
    assert found(tmp_path, ["x/a.png", "y/a.png"], ["x/a.jpg", "y/a.jpg"]) == ["x/a.png", "y/a.png"]


def test_an_image_of_two_possible_masks_has_none(tmp_path: Path) -> None:
    assert found(tmp_path, ["a_mask.png", "a_gt.png", "b_gt.png"], ["a.jpg", "b.jpg"]) == [
        None,
        "b_gt.png",
    ]


def test_the_whole_name_comes_before_the_stem_and_png_before_others(tmp_path: Path) -> None:
    masks = ["a.png", "a.jpg.png", "b.tif", "b.png", "b.jpg"]
    assert found(tmp_path, masks, ["a.jpg", "b.jpg"]) == ["a.jpg.png", "b.png"]


def test_looser_rules_are_only_named_if_a_stricter_one_matches(tmp_path: Path) -> None:
    assert found(tmp_path, ["a.png", "x/b_mask.png", "c.png"]) == ["a.png", None]
    masks = find_masks(tmp_path, IMAGES)
    assert masks.near == {"x/b.jpg": "x/b_mask.png"}


def test_hidden_files_folders_and_other_files_are_no_masks(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert found(tmp_path, [".a.png", "a.txt", "a.mat"]) == [None, None]
    assert mask_files(None) == mask_files(tmp_path / "nowhere") == []
