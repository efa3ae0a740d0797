"""`weakclip masks` as people call it, on CartoonVOC written as a plain folder."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bench.cartoon.world import WorldConfig
from bench.cartoon.write import write_voc
from bench.studies.preset import CARTOON
from bench.tasks.task import open_workbench
from tests.weakclip.masking.conftest import picture
from weakclip.cli.main import main
from weakclip.config import MICRO
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.voc import VOC_CLASSES, VOCDataset
from weakclip.ops.confusion import class_counts, iou_from_counts

if TYPE_CHECKING:
    from pathlib import Path


def write_folder(voc: Path, folder: Path) -> VOCDataset:
    """The images of `train` in one folder, their tags as a CSV in it."""
    data = VOCDataset(voc, "train")
    folder.mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "labels"])
        for name, row in zip(data.ids, data.image_labels(), strict=True):
            shutil.copy(voc / "JPEGImages" / f"{name}.jpg", folder)
            tags = [each for each, has in zip(data.classes, row, strict=True) if has]
            writer.writerow([f"{name}.jpg", ";".join(tags)])
    return data


def miou(data: VOCDataset, out: Path) -> float:
    """mIoU of the masks in `out`, whose labels follow the sorted tags."""
    classes = [each["name"] for each in json.loads((out / "masks.json").read_text())["categories"]]
    label = np.array([0, *(1 + VOC_CLASSES.index(name) for name in classes)])
    counts = torch.zeros(21, 3, dtype=torch.int64)
    for sample in data:
        assert sample.gt_mask is not None
        gt_mask = torch.from_numpy(sample.gt_mask).long()[None]
        pred_mask = label[read_mask(out / "masks" / f"{sample.image_id}.png")]
        counts += class_counts(torch.from_numpy(pred_mask)[None], gt_mask, 21)[0]
    return float(iou_from_counts(counts).nanmean())


def masks(photos: Path, *flags: str, out: str = "out") -> int:
    command = ["masks", "--images", str(photos), "--out", str(photos.parent / out)]
    return main([*command, "--device", "cpu", *flags])


def test_cartoons_get_masks_that_fit_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_voc(tmp_path / "voc", WorldConfig(size=128), splits={"train": 12})
    data = write_folder(tmp_path / "voc", tmp_path / "photos")
    assert masks(tmp_path / "photos") == 0
    out = capsys.readouterr()
    assert json.loads(out.out) == {"done": 12, "kept": 0, "skipped": 0, "failed": 0}
    assert "micro-CLIP knows nothing but cartoons" in out.err
    assert miou(data, tmp_path / "out") > 0.15  # 0.05 is background everywhere


@pytest.mark.slow
def test_masks_are_as_good_as_the_benchmarks(tmp_path: Path) -> None:
    """The command reaches the benchmark's own row, `train-pseudo-crf` of `MICRO`, within noise."""
    bench = open_workbench(CARTOON, None, torch.device("cpu"), tmp_path)
    counts = bench.run(MICRO, 0, report=lambda *_: None).counts["train-pseudo-crf"]
    pooled = torch.as_tensor(np.asarray(counts).sum(axis=0))
    data = write_folder(bench.images["train"].files.root.parent, tmp_path / "photos")
    assert masks(tmp_path / "photos", "--method", "weakclip") == 0
    # Other random views, so another draw: seeds of the benchmark differ by a point.
    assert abs(miou(data, tmp_path / "out") - float(iou_from_counts(pooled).nanmean())) < 0.025


def test_weakclip_takes_its_flags(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos.parent / "words.toml").write_text('background = ["sky", "grass"]\n')
    flags = ("--clip", "random-micro", "--method", "weakclip", "--iterations", "2", "--tile", "64")
    more = ("--words", str(photos.parent / "words.toml"), "--no-crf", "--max-side", "96")
    assert masks(photos, *flags, *more, "--untagged", "background", "--seed", "3") == 0
    plan = json.loads((photos.parent / "out" / "run.json").read_text())["plan"]
    assert plan["method"]["refinement"]["recipe"]["iterations"] == 2
    assert plan["method"]["refinement"]["tile"] == 64
    assert (plan["method"]["crf"], plan["max_side"], plan["seed"]) == (None, 96, 3)
    assert plan["words"]["background"] == ["sky", "grass"]
    capsys.readouterr()
    assert masks(photos, *flags, *more, "--untagged", "background", "--seed", "3", "--resume") == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 3


def test_words_can_be_a_csv(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = photos.parent / "words.csv"
    words.write_text("class,phrases\nbackground,sky;grass\nperson,person;horse\n")
    flags = ("--clip", "random-micro", "--no-crf", "--words", str(words))
    assert masks(photos, *flags) == 0
    found = json.loads((photos.parent / "out" / "run.json").read_text())["plan"]["words"]
    assert (found["background"], found["synonyms"]) == (
        ["sky", "grass"],
        {"person": ["person", "horse"]},
    )
    words.write_text("class,phrases\npreson,man\n")
    assert masks(photos, *flags, out="other") == 2
    assert "'preson' is no class; did you mean 'person'" in capsys.readouterr().err


def test_failures_are_counted_in_the_exit_code(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"none{index}.png,dog\n" for index in range(12))
    with (photos / "labels.csv").open("a") as file:
        file.write(rows)
    picture(photos / "untagged.png", (64, 64))
    assert masks(photos, "--clip", "random-micro") == 1
    out = capsys.readouterr()
    assert json.loads(out.out) == {"done": 3, "kept": 0, "skipped": 1, "failed": 12}
    assert "none0.png: " in out.err
    assert "... and 2 more failures" in out.err
    assert "1 images without tags were skipped" in out.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--clip", "ViT-B-61"), "did you mean 'ViT-B-16'"),
        (("--clip", "ViT-B-16"), "which weights?"),
        (("--tags", "none.csv"), "no such file of tags"),
        (("--words", "none.toml"), "words: no file"),
        (("--words", "none.csv"), "words: no file"),
        (("--tile", "64"), "so give --max-side instead"),
        (("--tile", "48", "--method", "weakclip"), "tile: expected 64 pixels or more for patches"),
        (("--iterations", "64"), "clip-es trains nothing"),
        (("--max-side", "3"), "max_side: expected 32"),
        (("--batch", "0"), "batch size: expected 1"),
        (("--seed", "-1"), "seed: expected 0 to 2**63 - 1, got -1"),
        (("--seed", str(1 << 63), "--method", "weakclip"), "seed: expected 0 to"),
        (("--images", "nowhere"), "no such folder"),
    ],
)
def test_wrong_usage_exits_2(
    photos: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert masks(photos, *flags) == 2
    assert message in capsys.readouterr().err
    assert not (photos.parent / "out").exists()


def test_tags_that_micro_does_not_know_are_told(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "labels.csv").write_text("file,labels\na.jpg,okapi\n")
    assert masks(photos) == 2
    assert "'okapi' in 'a photo of a okapi.' is not in the vocabulary" in capsys.readouterr().err


def test_names_cannot_steer_the_terminal(
    photos: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with (photos / "labels.csv").open("a") as file:
        file.write("none\x1b[31m.png,dog\n")
    assert masks(photos, "--clip", "random-micro", "--no-crf") == 1
    err = capsys.readouterr().err
    assert "none\\x1b[31m.png: no such image" in err
    assert "\x1b" not in err + caplog.text


def test_a_list_without_any_tag_exits_2(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "labels.csv").write_text("file,labels\na.jpg,\n")
    assert masks(photos) == 2
    assert "no image has a tag; name them in labels.csv" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "file,labels\n", "name;tags\n"])
def test_an_empty_list_of_tags_exits_2(
    photos: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (photos / "labels.csv").write_text(text)
    assert masks(photos) == 2
    assert "labels.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; --resume goes on"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "--resume goes on"),
        (OSError(errno.EROFS, "Read-only file system"), 1, "--resume goes on"),
    ],
)
def test_a_run_that_is_stopped_says_how_to_go_on(
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def stop(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("weakclip.masking.folder.write_mask", stop)
        assert masks(photos, "--clip", "random-micro") == code
    assert message in capsys.readouterr().err
    assert masks(photos, "--clip", "random-micro", "--resume") == 0


def test_a_place_that_cannot_be_written_to_exits_2(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("weakclip.masking.folder.write_text", refuse)
    assert masks(photos, "--clip", "random-micro") == 2
    assert "Permission denied; choose another --out" in capsys.readouterr().err


def test_the_precision_is_a_flag(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--clip", "random-micro", "--method", "weakclip", "--iterations", "2", "--no-crf")
    for precision, found in (("auto", "float32"), ("bfloat16", "bfloat16")):
        out = f"out-{precision}"
        assert masks(photos, *flags, "--tile", "64", "--precision", precision, out=out) == 0
        record = json.loads((photos.parent / out / "run.json").read_text())
        assert record["protocol"]["precision"] == found
    capsys.readouterr()
    assert masks(photos, "--clip", "random-micro", "--precision", "bfloat16") == 2
    assert "maps and seeds are made in float32" in capsys.readouterr().err


def test_how_tags_are_read_and_what_gets_no_mask_is_said(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "labels.csv").write_text("id;image;class\n1;a.jpg;dog\n2;sub/b c;dog\n")
    (photos / "x.cr2").touch()
    assert masks(photos, "--clip", "random-micro") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("labels.csv: read with semicolons, files from 'image'")
    assert lines[1].startswith("x.cr2: is a camera's raw file that is not listed")
    assert lines[2] == "1 pictures are not listed as images and get no mask"
    assert any(line.endswith("did you mean 'sub/b c.png'?") for line in lines)


def test_images_of_one_base_name_in_different_folders_get_masks_of_their_own(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, folder in enumerate(("x", "y", "Y")):
        picture(photos / folder / "a.jpg", (60, 70 + number), seed=number)
    rows = "".join(f"{folder}/a.jpg,dog\n" for folder in ("x", "y", "Y"))
    (photos / "labels.csv").write_text(f"file,labels\n{rows}a.jpg,dog\n")
    assert masks(photos, "--clip", "random-micro") == 0
    assert json.loads(capsys.readouterr().out)["done"] == 4
    out = photos.parent / "out" / "masks"
    written = [path.relative_to(out).as_posix() for path in out.rglob("*.png")]
    assert len({name.casefold() for name in written}) == 4
    assert {"a.png", "x/a.png"} <= set(written)
