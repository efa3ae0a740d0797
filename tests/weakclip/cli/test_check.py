from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from weakclip.cli.main import main
from weakclip.data.formats.masks import write_mask
from weakclip.data.read.tagged import list_sha256

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """images/cat/a.png and images/dog/b.png with masks 1 and 2."""
    for label, name in enumerate(("cat/a", "dog/b"), start=1):
        for kind in ("images", "masks"):
            (tmp_path / kind / name).parent.mkdir(parents=True)
        Image.new("RGB", (4, 3)).save(tmp_path / "images" / f"{name}.png")
        mask = np.full((3, 4), label, dtype=np.uint8)
        write_mask(tmp_path / "masks" / f"{name}.png", mask)
    return tmp_path


def check(root: Path, *flags: str) -> int:
    return main(["check", str(root / "images"), *flags])


def summary(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_a_good_folder_exits_0(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(root, "--masks", str(root / "masks")) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "2 images, 2 classes, 2 masks: nothing found"
    assert json.loads(lines[-1]) == {
        "images": 2,
        "classes": 2,
        "masks": 2,
        "sha256": list_sha256(["cat/a.png", "dog/b.png"]),
        "findings": [],
    }
    assert captured.err == ""


def test_what_breaks_a_run_exits_1_with_the_fix(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "images" / "dog" / "b.png").write_bytes(b"")
    assert check(root) == 1
    captured = capsys.readouterr()
    assert "images that do not decode" in captured.out
    assert "copy them again" in captured.out
    (finding,) = json.loads(captured.out.splitlines()[-1])["findings"]
    assert finding["kind"] == "image-unreadable"
    assert finding["severity"] == "breaks"
    assert finding["count"] == 1
    assert finding["examples"][0].startswith("dog/b.png: damaged image")


def test_notes_exit_0(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (4, 3)).save(root / "images" / "c.png")
    assert check(root) == 0
    kinds = [finding["kind"] for finding in summary(capsys)["findings"]]
    assert kinds == ["image-grey", "image-without-tags"]


def test_classes_in_another_order_are_bias(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "classes.txt").write_text("dog\n\ncat\n")
    flags = ("--masks", str(root / "masks"), "--classes", str(root / "classes.txt"))
    assert check(root, *flags) == 1
    assert summary(capsys)["findings"][0]["kind"] == "mask-against-tags"


def test_the_vocabulary_can_be_micro_clips(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "images" / "dog").rename(root / "images" / "xylophone")
    assert check(root) == 0
    capsys.readouterr()
    assert check(root, "--clip", "micro") == 1
    assert summary(capsys)["findings"][0]["examples"] == ["xylophone"]


def test_markup_and_control_characters_in_names_are_shown_as_they_are(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "images" / "[red]x\x1b[2J.png").write_bytes(b"")
    assert check(root, "--examples", "9") == 1
    text = capsys.readouterr().out
    assert "[red]x\\x1b[2J.png" in text
    assert "\x1b" not in text


def test_examples_are_limited(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        (root / "images" / f"{number}.png").write_bytes(b"")
    assert check(root, "--examples", "2") == 1
    finding = summary(capsys)["findings"][0]
    assert (finding["count"], len(finding["examples"])) == (5, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--layout", "voc"), "expected VOC's layout"),
        (("--layout", "coco"), "expected one instances_"),
        (("--tags", "/nowhere/labels.csv"), "no such file of tags"),
        (("--masks", "/nowhere"), "no such folder"),
        (("--classes", "/nowhere/classes.txt"), "classes.txt"),
        (("--examples", "-1"), "--examples"),
    ],
)
def test_wrong_usage_exits_2(
    root: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert check(root, *flags) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("weakclip check: ")
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("text", ["", "cat\ncat\n"])
def test_a_useless_list_of_classes_exits_2(root: Path, text: str) -> None:
    (root / "classes.txt").write_text(text)
    assert check(root, "--classes", str(root / "classes.txt")) == 2


def test_an_empty_csv_exits_2(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "images" / "labels.csv").write_text("")
    assert check(root) == 2
    assert "expected the header" in capsys.readouterr().err


def test_a_coco_json_without_images_exits_2(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content: dict[str, list[object]] = {"images": [], "annotations": [], "categories": []}
    (root / "tags.json").write_text(json.dumps(content))
    assert check(root, "--tags", str(root / "tags.json")) == 2
    assert "found none" in capsys.readouterr().err
