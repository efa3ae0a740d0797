from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pycocotools import mask as rle

from weakclip.data.build import coco as build_coco
from weakclip.data.read.coco import COCO_CATEGORIES
from weakclip.data.read.folder import list_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weakclip.data.read.coco import Numbering

NAMES = tuple(f"COCO_train2014_{number:012d}" for number in (9, 25, 30))


@pytest.fixture
def sources(tmp_path: Path, photo: Callable[..., None]) -> tuple[Path, Path]:
    """annotations/instances_train2014.json and train2014: three images, the last unannotated."""
    crowd = np.zeros((6, 8), dtype=np.uint8)
    crowd[:, 6:] = 1
    packed = rle.encode(np.asfortranarray(crowd))
    forms: list[dict[str, Any]] = [
        {"segmentation": [[0, 0, 4, 0, 4, 3, 0, 3]], "category_id": 18, "iscrowd": 0},
        {"segmentation": {"size": [6, 8], "counts": [36, 12]}, "category_id": 1, "iscrowd": 1},
        {
            "segmentation": {"size": [6, 8], "counts": packed["counts"].decode()},
            "category_id": 90,
            "iscrowd": 0,
        },
    ]
    content = {
        "info": {"year": 2014},
        "licenses": [],
        "images": [
            {"id": int(name[-12:]), "file_name": f"{name}.jpg", "height": 6, "width": 8}
            for name in NAMES
        ],
        "annotations": [
            {"id": number, "image_id": image_id, "area": 12, "bbox": [0, 0, 4, 3], **form}
            for number, (image_id, form) in enumerate(zip((9, 9, 25), forms, strict=True), start=1)
        ],
        "categories": [
            {"supercategory": "", "id": one, "name": name} for one, name in COCO_CATEGORIES.items()
        ],
    }
    for name in NAMES:
        photo(tmp_path / "train2014" / f"{name}.jpg")
    path = tmp_path / "annotations" / "instances_train2014.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path, tmp_path / "train2014"


@pytest.mark.parametrize(
    ("numbering", "dog", "brush"), [("contiguous", 17, 80), ("original", 18, 90)]
)
def test_masks_have_the_labels_of_the_numbering(
    sources: tuple[Path, Path], numbering: Numbering, dog: int, brush: int
) -> None:
    jobs = build_coco.mask_jobs(build_coco.read_sources(*sources), numbering, "ignore")
    masks = {job.image_id: job.make() for job in jobs}
    assert tuple(masks) == NAMES
    assert masks[NAMES[0]][0].tolist() == [dog] * 4 + [0, 0, 255, 255]
    assert masks[NAMES[1]][5].tolist() == [0] * 6 + [brush] * 2
    assert not masks[NAMES[2]].any()


def test_crowds_can_be_their_class(sources: tuple[Path, Path]) -> None:
    jobs = build_coco.mask_jobs(build_coco.read_sources(*sources), "contiguous", "class")
    assert jobs[0].make()[0, 7] == 1


def test_one_list_names_the_annotated_images_and_one_all(sources: tuple[Path, Path]) -> None:
    lists = build_coco.read_sources(*sources).lists
    assert lists == {"train2014": NAMES[:2], "train2014-all": NAMES}


def test_tags_are_written_for_the_folder_reader(sources: tuple[Path, Path], tmp_path: Path) -> None:
    read = build_coco.read_sources(*sources)
    build_coco.write_tags(tmp_path, read, "original")
    classes = (tmp_path / "classes.txt").read_text().splitlines()
    assert len(classes) == 90
    files = list_folder(sources[1], tmp_path / "labels-train2014.csv", classes=classes)
    tags = [[classes[c] for c in row.nonzero()[:, 0]] for row in files.image_labels]
    assert tags == [["person", "dog"], ["toothbrush"], []]


def test_what_differs_from_the_published_data_is_said(
    sources: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations, images = sources
    lines = build_coco.missing_pieces(build_coco.read_sources(annotations, images))
    assert [line.split(";")[0] for line in lines] == [
        "images in the JSON: expected 82783, found 3",
        "images with annotations: expected 82081, found 2",
    ]
    assert "annotations_trainval2014.zip" in lines[0]
    monkeypatch.setitem(build_coco.OFFICIAL, "train2014", (3, 2))
    assert build_coco.missing_pieces(build_coco.read_sources(annotations, images)) == ()
    (images / f"{NAMES[0]}.jpg").unlink()
    (line,) = build_coco.missing_pieces(build_coco.read_sources(annotations, images))
    assert line.startswith("image files: expected 3, found 2; published as train2014.zip")


def test_other_categories_and_splits_are_said(
    sources: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations, images = sources
    monkeypatch.setitem(build_coco.OFFICIAL, "train2014", (3, 2))
    text = annotations.read_text().replace('"stop sign"', '"stop-sign"')
    annotations.write_text(text)
    (line,) = build_coco.missing_pieces(build_coco.read_sources(annotations, images))
    assert line.startswith("categories that are not COCO's: expected 0, found 2")
    other = annotations.rename(annotations.with_name("instances_own.json"))
    (line,) = build_coco.missing_pieces(build_coco.read_sources(other, images))
    assert line.startswith("split 'own'")


def test_missing_files_say_where_they_are_published(sources: tuple[Path, Path]) -> None:
    annotations, images = sources
    with pytest.raises(FileNotFoundError, match=r"annotations_trainval2014\.zip"):
        build_coco.read_sources(images / "gone.json", images)
    with pytest.raises(FileNotFoundError, match=r"train2014\.zip .*from https://cocodataset\.org"):
        build_coco.read_sources(annotations, images / "gone")


def test_a_file_name_that_leads_out_is_refused(sources: tuple[Path, Path]) -> None:
    annotations, images = sources
    annotations.write_text(annotations.read_text().replace(f"{NAMES[0]}.jpg", "../x.jpg"))
    with pytest.raises(ValueError, match=r"instances_train2014\.json: image 9: .*'\.\./x\.jpg'"):
        build_coco.read_sources(annotations, images)
