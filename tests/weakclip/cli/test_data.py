from __future__ import annotations

import errno
import hashlib
import json
import tarfile
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from weakclip.cli.main import main
from weakclip.data.build import coco as build_coco
from weakclip.data.build import voc as build_voc_module
from weakclip.data.formats.masks import read_mask, write_mask

if TYPE_CHECKING:
    from pathlib import Path

LISTS = "ImageSets/Segmentation"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """voc and sbd/cls below a folder: a is VOC's train, b VOC's val, c SBD's alone."""
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", LISTS):
        (tmp_path / "voc" / folder).mkdir(parents=True)
    (tmp_path / "sbd" / "cls").mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (4, 3)).save(tmp_path / "voc" / "JPEGImages" / f"{name}.jpg")
    for name in "ab":
        mask = np.full((3, 4), 255, dtype=np.uint8)
        write_mask(tmp_path / "voc" / "SegmentationClass" / f"{name}.png", mask)
    mat = {"GTcls": {"Segmentation": np.ones((3, 4), dtype=np.uint8)}}
    savemat(tmp_path / "sbd" / "cls" / "c.mat", mat)
    (tmp_path / "voc" / LISTS / "train.txt").write_text("a\n")
    (tmp_path / "voc" / LISTS / "val.txt").write_text("b\n")
    return tmp_path


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """instances_train2014.json and train2014 below a folder: one image with one car."""
    (tmp_path / "train2014").mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "train2014" / "a.jpg")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 3, "width": 4}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "iscrowd": 0,
             "segmentation": {"size": [3, 4], "counts": [0, 3, 9]}},
        ],
        "categories": [{"id": 3, "name": "car"}],
    }  # fmt: skip
    (tmp_path / "instances_train2014.json").write_text(json.dumps(content))
    return tmp_path


def build_voc(root: Path, *flags: str, out: str = "out") -> int:
    places = ["--voc", str(root / "voc"), "--sbd", str(root / "sbd"), "--out", str(root / out)]
    return main(["data", "voc", *places, *flags])


def build_coco_2014(root: Path, *flags: str) -> int:
    places = ["--annotations", str(root / "instances_train2014.json")]
    places += ["--images", str(root / "train2014"), "--out", str(root / "out")]
    return main(["data", "coco", *places, *flags])


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_an_incomplete_voc_is_not_built_unless_asked(
    voc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_voc(voc) == 1
    captured = capsys.readouterr()
    assert "SBD class masks: expected 11355, found 1; published as benchmark.tgz" in captured.err
    assert len(json.loads(captured.out)["missing"]) == 4
    assert not (voc / "out").exists()
    assert build_voc(voc, "--counts", "any") == 0


def test_voc_masks_and_lists_are_built_and_kept(
    voc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_voc(voc, "--counts", "any") == 0
    found = last_line(capsys)
    assert (found["written"], found["kept"], found["failed"]) == (3, 0, 0)
    text = (voc / "out" / LISTS / "trainaug.txt").read_bytes()
    assert text == b"a\nc\n"
    assert found["lists"]["trainaug"] == {"count": 2, "sha256": hashlib.sha256(text).hexdigest()}
    (voc / "out" / "SegmentationClassAug" / "b.png").unlink()
    assert build_voc(voc, "--counts", "any") == 0
    found = last_line(capsys)
    assert (found["written"], found["kept"]) == (1, 2)


def test_lists_are_compared_with_those_of_an_earlier_build(
    voc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_voc(voc, "--counts", "any", out="first") == 0
    flags = ("--counts", "any", "--manifest", str(voc / "first" / "weakclip-build.json"))
    assert build_voc(voc, *flags, out="second") == 0
    (voc / "sbd" / "cls" / "c.mat").rename(voc / "sbd" / "cls" / "d.mat")
    capsys.readouterr()
    assert build_voc(voc, *flags, out="third") == 1
    captured = capsys.readouterr()
    assert "list trainaug: expected 2 images with SHA-256 " in captured.err
    assert [line for line in captured.err.splitlines() if line.startswith("list train: ")] == []
    assert "without --manifest" in captured.err
    assert json.loads(captured.out)["missing"][0].startswith("list trainaug: ")
    assert not (voc / "third").exists()


def test_a_manifest_may_have_more_lists_and_not_fewer(
    coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = {
        name: {"count": 1, "sha256": hashlib.sha256(b"a\n").hexdigest()}
        for name in ("train2014", "train2014-all", "val2014")
    }
    path = coco / "manifest.json"
    path.write_text(json.dumps({"lists": lists}))
    assert build_coco_2014(coco, "--counts", "any", "--manifest", str(path)) == 0
    del lists["train2014"]
    path.write_text(json.dumps({"lists": lists}))
    capsys.readouterr()
    assert build_coco_2014(coco, "--counts", "any", "--manifest", str(path)) == 1
    assert "list train2014: expected no such list by manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such manifest"),
        ("{", "damaged record"),
        ("[]", "no JSON object"),
        ("{}", "expected checksums of lists"),
        ('{"lists": ["train"]}', "expected checksums of lists"),
    ],
)
def test_a_manifest_without_checksums_exits_2(
    voc: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    path = voc / "manifest.json"
    if text is not None:
        path.write_text(text)
    assert build_voc(voc, "--counts", "any", "--manifest", str(path)) == 2
    assert message in capsys.readouterr().err
    assert not (voc / "out").exists()


def test_lists_are_compared_with_the_published_archive(
    voc: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = voc / "VOCtrainval_11-May-2012.tar"
    with tarfile.open(tar, "w") as tape:
        for name in ("train.txt", "val.txt"):
            tape.add(voc / "voc" / LISTS / name, f"VOCdevkit/VOC2012/{LISTS}/{name}")
    flags = ("--counts", "any", "--archives", str(voc))
    assert build_voc(voc, *flags) == 1
    err = capsys.readouterr().err
    assert "VOCtrainval_11-May-2012.tar: expected 1999639040 bytes, got" in err
    assert f"benchmark.tgz: not in {voc}, not verified" in err
    md5 = hashlib.md5(tar.read_bytes()).hexdigest()
    whole = replace(build_voc_module.VOC_ARCHIVE, md5=md5, size=tar.stat().st_size)
    monkeypatch.setattr(build_voc_module, "VOC_ARCHIVE", whole)
    monkeypatch.setattr(build_voc_module, "ARCHIVES", (whole, build_voc_module.SBD_ARCHIVE))
    assert build_voc(voc, *flags) == 0
    assert "VOCtrainval_11-May-2012.tar: as published" in capsys.readouterr().err
    (voc / "voc" / LISTS / "val.txt").write_text("c\n")
    assert build_voc(voc, *flags, out="second") == 1
    assert "val.txt as in VOCtrainval_11-May-2012.tar, got" in capsys.readouterr().err
    assert not (voc / "second").exists()


def test_cocos_json_is_compared_with_the_published_archive(
    coco: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = coco / "annotations_trainval2014.zip"
    with zipfile.ZipFile(path, "w") as packed:
        name = "instances_train2014.json"
        packed.write(coco / name, f"annotations/{name}")
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    whole = replace(build_coco.ANNOTATIONS_ARCHIVE, md5=md5, size=path.stat().st_size)
    monkeypatch.setattr(build_coco, "ANNOTATIONS_ARCHIVE", whole)
    flags = ("--counts", "any", "--archives", str(coco))
    assert build_coco_2014(coco, *flags) == 0
    with (coco / name).open("a") as file:
        file.write(" ")
    assert build_coco_2014(coco, *flags) == 1
    assert f"expected annotations/{name} as in" in capsys.readouterr().err


def test_a_folder_without_archives_exits_2(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_voc(voc, "--counts", "any", "--archives", str(voc / "sbd")) == 2
    assert "holds none of VOCtrainval_11-May-2012.tar, benchmark" in capsys.readouterr().err


def test_voc_can_be_built_in_place(voc: Path) -> None:
    before = (voc / "voc" / LISTS / "train.txt").stat().st_mtime_ns
    assert build_voc(voc, "--counts", "any", out="voc") == 0
    assert (voc / "voc" / LISTS / "trainaug.txt").read_text() == "a\nc\n"
    assert (voc / "voc" / LISTS / "train.txt").stat().st_mtime_ns == before
    assert not (voc / "voc" / "JPEGImages").is_symlink()


def test_a_damaged_source_exits_1_and_leaves_no_list(
    voc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (voc / "sbd" / "cls" / "c.mat").write_bytes(b"")
    assert build_voc(voc, "--counts", "any") == 1
    captured = capsys.readouterr()
    assert "c.mat: expected a MATLAB file of version 5 to 7" in captured.err
    assert json.loads(captured.out)["failed"] == 1
    assert not (voc / "out" / LISTS).exists()
    assert (voc / "out" / "SegmentationClassAug" / "a.png").is_file()


@pytest.mark.parametrize(("ids", "label", "classes"), [("contiguous", 1, 1), ("original", 3, 3)])
def test_coco_is_built_in_either_numbering(
    coco: Path, capsys: pytest.CaptureFixture[str], ids: str, label: int, classes: int
) -> None:
    assert build_coco_2014(coco, "--counts", "any", "--ids", ids) == 0
    mask = read_mask(coco / "out" / "SegmentationClass" / "a.png")
    assert mask.tolist() == [[label, 0, 0, 0]] * 3
    assert (coco / "out" / LISTS / "train2014.txt").read_text() == "a\n"
    assert (coco / "out" / "labels-train2014.csv").read_text() == "file,labels\na.jpg,car\n"
    assert len((coco / "out" / "classes.txt").read_text().splitlines()) == classes
    assert set(last_line(capsys)["lists"]) == {"train2014", "train2014-all"}


def test_two_numberings_do_not_mix(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_coco_2014(coco, "--counts", "any") == 0
    flags = ("--counts", "any", "--ids", "original")
    assert build_coco_2014(coco, *flags) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert build_coco_2014(coco, *flags, "--on-existing", "replace") == 0
    assert read_mask(coco / "out" / "SegmentationClass" / "a.png")[0, 0] == 3


def test_the_counts_of_coco_are_checked(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_coco_2014(coco) == 1
    assert not (coco / "out").exists()
    monkeypatch.setitem(build_coco.OFFICIAL, "train2014", (1, 1))
    monkeypatch.setattr(build_coco, "COCO_CATEGORIES", {3: "car"})
    assert build_coco_2014(coco) == 0


def test_missing_sources_exit_2(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_coco_2014(voc) == 2
    assert "annotations_trainval2014.zip" in capsys.readouterr().err
    (voc / "voc" / "JPEGImages").rename(voc / "elsewhere")
    assert build_voc(voc) == 2
    assert "VOCtrainval_11-May-2012.tar" in capsys.readouterr().err


def test_an_output_that_is_a_file_exits_2(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (voc / "out").write_text("")
    assert build_voc(voc, "--counts", "any") == 2
    assert "expected a folder" in capsys.readouterr().err


def test_a_foreign_list_exits_2(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (voc / "voc" / LISTS / "trainaug.txt").write_text("c\na\n")
    assert build_voc(voc, "--counts", "any", out="voc") == 2
    assert "move it away" in capsys.readouterr().err
    assert not (voc / "voc" / "SegmentationClassAug").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk_exits_1_and_can_be_resumed(
    voc: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    save = Image.Image.save

    def refuse(image: Image.Image, path: Path, format: str) -> None:
        if "b.png" in path.name:
            path.write_bytes(b"half")
            raise OSError(number, "refused by the disk")
        save(image, path, format)

    monkeypatch.setattr(Image.Image, "save", refuse)
    assert build_voc(voc, "--counts", "any") == 1
    assert "refused by the disk" in capsys.readouterr().err
    folder = voc / "out" / "SegmentationClassAug"
    assert [path.name for path in folder.iterdir()] == ["a.png"]
    monkeypatch.undo()
    assert build_voc(voc, "--counts", "any") == 0
    assert last_line(capsys)["kept"] == 1


def test_a_folder_that_cannot_be_made_exits_2(
    voc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (voc / "file").write_text("")
    assert build_voc(voc, "--counts", "any", out="file/out") == 2
    assert "cannot write to" in capsys.readouterr().err


def rewrite(root: Path, **changes: object) -> None:
    """Replace parts of the instances JSON."""
    path = root / "instances_train2014.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_two_images_of_one_name_have_two_masks(coco: Path) -> None:
    images = [
        {"id": number, "file_name": f"{folder}/a.jpg", "height": 3, "width": 4}
        for number, folder in ((1, "x"), (2, "y"))
    ]
    rewrite(coco, images=images)
    assert build_coco_2014(coco, "--counts", "any") == 0
    masks = [read_mask(coco / "out" / "SegmentationClass" / f"{one}/a.png") for one in "xy"]
    assert [int(mask[0, 0]) for mask in masks] == [1, 0]
    assert (coco / "out" / LISTS / "train2014-all.txt").read_text() == "x/a\ny/a\n"
    assert build_coco_2014(coco, "--counts", "any") == 0


@pytest.mark.parametrize("name", ["my photo.jpg", "été à la mer.jpg"])
def test_a_name_with_blanks_can_be_built_again(coco: Path, name: str) -> None:
    rewrite(coco, images=[{"id": 1, "file_name": name, "height": 3, "width": 4}])
    assert build_coco_2014(coco, "--counts", "any") == 0
    assert build_coco_2014(coco, "--counts", "any") == 0


def test_a_bad_annotation_costs_itself_and_exits_1(
    coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.loads((coco / "instances_train2014.json").read_text())["annotations"]
    bad = [{"id": 5 + n, "image_id": 1, "category_id": 3, "segmentation": []} for n in range(30)]
    rewrite(coco, annotations=[*good, *bad])
    assert build_coco_2014(coco, "--counts", "any") == 1
    captured = capsys.readouterr()
    assert "annotation 5 (car in a.jpg): has an empty segmentation" in captured.err
    assert "... and 10 more like these" in captured.err
    assert "problems: 30; masks and lists are of what is good" in captured.err
    assert len(json.loads(captured.out)["problems"]) == 30
    assert (coco / "out" / LISTS / "train2014.txt").read_text() == "a\n"
    assert read_mask(coco / "out" / "SegmentationClass" / "a.png")[0, 0] == 1


def test_how_the_unusual_was_read_is_said(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(coco, categories=[{"id": 0, "name": "background"}, {"id": 3, "name": "car"}])
    assert build_coco_2014(coco, "--counts", "any") == 0
    assert "category 0 (background) has no annotations" in capsys.readouterr().err
    assert (coco / "out" / "classes.txt").read_text() == "car\n"


def test_a_mask_of_somebody_else_is_named_and_no_list_vouches_for_it(
    coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (coco / "out" / "SegmentationClass").mkdir(parents=True)
    write_mask(coco / "out" / "SegmentationClass" / "a.png", np.full((3, 4), 7, dtype=np.uint8))
    assert build_coco_2014(coco, "--counts", "any") == 1
    assert "a: the mask that is there is not the one of this build" in capsys.readouterr().err
    assert not (coco / "out" / LISTS).exists()
    assert build_coco_2014(coco, "--counts", "any", "--on-existing", "replace") == 0


def test_control_characters_of_a_json_reach_no_terminal(
    coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = {"id": 1, "file_name": "\x1b[31m.jpg", "height": 3, "width": 4}
    rewrite(coco, images=[image, image | {"id": 2}])
    assert build_coco_2014(coco, "--counts", "any") == 2
    rewrite(coco, images=[image], annotations=[])
    (coco / "train2014" / "\x1b[31m.jpg").write_bytes(b"")
    assert build_coco_2014(coco, "--counts", "any") == 1
    assert "\x1b" not in capsys.readouterr().err
