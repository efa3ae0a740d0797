from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.io import savemat

from weakclip.data.build import voc as build_voc
from weakclip.data.build.job import build_masks, write_lists
from weakclip.data.formats.masks import read_mask, write_mask
from weakclip.data.read.folder import list_folder
from weakclip.data.read.voc import VOCDataset, list_voc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

# Which data set annotates which image: train and val are VOC's lists.
TRAIN, VAL = ("2007_000032", "2007_000039"), ("2007_000033",)
SBD = ("2007_000032", "2007_000033", "2008_000002", "2008_000007")


def labels_of(number: int) -> NDArray[np.uint8]:
    return np.full((6, 8), number, dtype=np.uint8)


@pytest.fixture
def sources(tmp_path: Path, photo: Callable[..., None]) -> tuple[Path, Path]:
    """VOC2012 and benchmark_RELEASE/dataset; VOC's masks are 1 with void, SBD's are 2."""
    voc, sbd = tmp_path / "VOC2012", tmp_path / "benchmark_RELEASE" / "dataset"
    for folder in ("Annotations", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / folder).mkdir(parents=True)
    (sbd / "cls").mkdir(parents=True)
    for name in {*TRAIN, *VAL, *SBD}:
        photo(voc / "JPEGImages" / f"{name}.jpg")
        xml = "<annotation><object><name>bird</name></object></annotation>"
        (voc / "Annotations" / f"{name}.xml").write_text(xml)
    for name in (*TRAIN, *VAL):
        mask = labels_of(1)
        mask[0] = 255
        write_mask(voc / "SegmentationClass" / f"{name}.png", mask)
    for name in SBD:
        savemat(sbd / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": labels_of(2)}})
    for split, ids in (("train", TRAIN), ("val", VAL)):
        text = "".join(f"{one}\n" for one in ids)
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text)
    return voc, sbd


def build(voc: Path, sbd: Path, out: Path) -> build_voc.VOCSources:
    read = build_voc.read_sources(voc, sbd)
    folder = out / build_voc.MASKS
    jobs = build_voc.mask_jobs(read)
    built = build_masks(jobs, folder, replace=False, report=lambda _done, _total: None)
    assert not built.failed
    write_lists(out, read.lists)
    build_voc.prepare(out, read)
    return read


def test_trainaug_is_all_that_is_annotated_but_val(sources: tuple[Path, Path]) -> None:
    read = build_voc.read_sources(*sources)
    assert read.trainaug == ("2007_000032", "2007_000039", "2008_000002", "2008_000007")
    assert (read.train, read.val) == (TRAIN, VAL)


@pytest.mark.parametrize("place", ["VOC2012", "elsewhere"])
def test_vocs_masks_win_and_keep_their_void(
    sources: tuple[Path, Path], tmp_path: Path, place: str
) -> None:
    build(*sources, tmp_path / place)
    folder = tmp_path / place / "SegmentationClassAug"
    assert len(list(folder.iterdir())) == 5
    assert set(np.unique(read_mask(folder / "2007_000032.png"))) == {1, 255}
    assert set(np.unique(read_mask(folder / "2007_000033.png"))) == {1, 255}
    assert set(np.unique(read_mask(folder / "2008_000002.png"))) == {2}


def test_the_result_is_a_data_set_by_itself(sources: tuple[Path, Path], tmp_path: Path) -> None:
    read = build(*sources, tmp_path / "out")
    dataset = VOCDataset(tmp_path / "out", "trainaug")
    assert dataset.ids == read.trainaug
    masks = [sample.gt_mask for sample in dataset]
    assert [int(mask[3, 3]) for mask in masks if mask is not None] == [1, 1, 2, 2]
    files = list_voc(tmp_path / "out", "trainaug")
    assert files.image(2).shape == (3, 6, 8)


def test_tables_of_tags_are_those_of_the_annotations(
    sources: tuple[Path, Path], tmp_path: Path
) -> None:
    voc, _ = sources
    (voc / "Annotations" / "2008_000007.xml").unlink()
    read = build(*sources, tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "labels-trainaug.csv").read_text().splitlines() == [
        "file,labels", "2007_000032.jpg,bird", "2007_000039.jpg,bird", "2008_000002.jpg,bird",
        "2008_000007.jpg,",
    ]  # fmt: skip
    assert list_folder(out / "JPEGImages", out / "labels-val.csv").classes == ("bird",)
    assert (out / "classes.txt").read_text().split()[2] == "bird"
    assert build_voc.untagged(read)[0].startswith("1 images have no annotation")


def test_what_differs_from_the_published_data_is_said(sources: tuple[Path, Path]) -> None:
    voc, sbd = sources
    (voc / "JPEGImages" / "2008_000002.jpg").unlink()
    (voc / "SegmentationClass" / "2007_000033.png").unlink()
    lines = build_voc.missing_pieces(build_voc.read_sources(voc, sbd))
    starts = [line.split(";")[0] for line in lines]
    assert starts == [
        "VOC list train: expected 1464, found 2",
        "VOC list val: expected 1449, found 1",
        "SBD class masks: expected 11355, found 4",
        "list trainaug: expected 10582, found 4",
        "JPEGImages: expected 5, found 4",
        "SegmentationClass: expected 3, found 2",
    ]
    assert "VOCtrainval_11-May-2012.tar" in lines[0]
    assert "benchmark.tgz" in lines[2]


def test_complete_data_sets_lack_nothing(
    sources: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in {"TRAIN": 2, "VAL": 1, "SBD": 4, "TRAINAUG": 4}.items():
        monkeypatch.setattr(build_voc, name, count)
    assert build_voc.missing_pieces(build_voc.read_sources(*sources)) == ()


def test_train_and_val_are_vocs_own_trainval(
    sources: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in {"TRAIN": 2, "VAL": 1, "SBD": 4, "TRAINAUG": 4}.items():
        monkeypatch.setattr(build_voc, name, count)
    both = sources[0] / "ImageSets" / "Segmentation" / "trainval.txt"
    both.write_text("".join(f"{one}\n" for one in sorted((*TRAIN, *VAL))))
    assert build_voc.missing_pieces(build_voc.read_sources(*sources)) == ()
    both.write_text("".join(f"{one}\n" for one in (*TRAIN, "2007_000042")))
    (line,) = build_voc.missing_pieces(build_voc.read_sources(*sources))
    assert line.startswith("ids by which trainval is not train and val: expected 0, found 2")


def test_missing_folders_say_where_they_are_published(
    sources: tuple[Path, Path], tmp_path: Path
) -> None:
    voc, sbd = sources
    with pytest.raises(FileNotFoundError, match=r"JPEGImages, .*VOCtrainval_11-May-2012\.tar"):
        build_voc.read_sources(tmp_path, sbd)
    with pytest.raises(FileNotFoundError, match=r"cls.*benchmark\.tgz"):
        build_voc.read_sources(voc, voc)


def test_a_mask_of_another_size_fails_alone(sources: tuple[Path, Path], tmp_path: Path) -> None:
    voc, sbd = sources
    savemat(sbd / "cls" / "2008_000002.mat", {"GTcls": {"Segmentation": labels_of(2)[1:]}})
    (sbd / "cls" / "2008_000007.mat").write_bytes(b"cut")
    (voc / "SegmentationClass" / "2007_000039.png").unlink()
    jobs = build_voc.mask_jobs(build_voc.read_sources(voc, sbd))
    built = build_masks(jobs, tmp_path / "m", replace=False, report=lambda _done, _total: None)
    assert built.written == 2
    reasons = {one.name: one.reason for one in built.failed}
    assert list(reasons) == ["2007_000039", "2008_000002", "2008_000007"]
    assert "(6, 8), got (5, 8)" in reasons["2008_000002"]
    assert "no such mask" in reasons["2007_000039"]
