"""From anybody's masks to a network that labels new images, by the command alone."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

import weakclip
from weakclip.cli.flags.retrain import add_flags
from weakclip.cli.main import main
from weakclip.cli.retrain import changed
from weakclip.data.formats.masks import read_mask, write_mask
from weakclip.data.read.folder import list_folder
from weakclip.retraining.network import SMP, DeepLabV2, SmallFPN
from weakclip.stages.retrain_presets import PRESETS

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("--iterations", "3", "--batch", "2", "--crop", "32")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """photos/{a.jpg,b.jpg,c.png} with masks of palette, grey and void, and classes.txt above."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    for name in ("a.jpg", "b.jpg", "c.png"):
        noise = generator.integers(0, 256, (60, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / name)
    labels = generator.integers(0, 3, (60, 50)).astype(np.uint8)
    labels[:5] = 255
    write_mask(tmp_path / "masks" / "a.png", labels)
    Image.fromarray(labels).save(tmp_path / "masks" / "b.png")
    write_mask(tmp_path / "masks" / "c.png", labels)
    (tmp_path / "classes.txt").write_text("0 background\n1 cat\n2 red bus\n")
    return tmp_path


def words(place: Path, *more: str) -> list[str]:
    return [
        "retrain", "--images", str(place / "photos"), "--masks", str(place / "masks"),
        "--out", str(place / "out"), *QUICK, *more,
    ]  # fmt: skip


def test_masks_become_a_network_that_predict_and_load_open(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(place)) == 0
    out = capsys.readouterr()
    assert json.loads(out.out.splitlines()[-1]) == {
        "images": 3, "left_out": 0, "classes": 2, "iterations": 3,
        "network": (place / "out" / "network").as_posix(),
    }  # fmt: skip
    assert "preset micro trains a small network" in out.err
    network = weakclip.load(place / "out")
    assert network.class_names == ("cat", "red bus")
    with Image.open(place / "photos" / "a.jpg") as image:
        found = network.predict(image)
    assert found.labels.shape == (60, 50)
    assert found.scores.shape == (3, 60, 50)
    np.testing.assert_allclose(found.scores.sum(axis=0), 1, atol=1e-5)
    predict = ["predict", "--network", str(place / "out"), "--images", str(place / "photos")]
    assert main([*predict, "--out", str(place / "new")]) == 0
    assert np.array_equal(read_mask(place / "new" / "masks" / "a.png"), found.labels)
    assert not list((place / "out" / "work").rglob("*.safetensors"))


def test_annotations_of_a_tree_are_no_images(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = place / "VOC2012"
    tree.mkdir()
    (place / "photos").rename(tree / "JPEGImages")
    (tree / "SegmentationClass").mkdir()
    for name in "abc":
        write_mask(tree / "SegmentationClass" / f"{name}.png", np.zeros((60, 50), np.uint8))
    there = words(place)
    there[2] = str(tree)
    assert main(there) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["images"] == 3


def test_the_same_command_again_trains_nothing_and_another_one_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(place)) == 0
    weights = place / "out" / "network" / "weights.safetensors"
    written = weights.stat().st_mtime_ns
    assert main(words(place)) == 0
    assert weights.stat().st_mtime_ns == written
    capsys.readouterr()
    assert main(words(place, "--seed", "1")) == 2
    assert "holds a network that was trained otherwise" in capsys.readouterr().err


def test_the_function_is_the_command(place: Path) -> None:
    assert main(words(place, "--loss", "balanced")) == 0
    files = list_folder(place / "photos", masks=place / "masks", classes=("cat", "red bus"))
    spec = changed(PRESETS["micro"], parsed(*QUICK, "--loss", "balanced"))
    network = weakclip.retrain(files, place / "again", spec, max_side=128)
    opened = weakclip.load(place / "out")
    picture = np.random.default_rng(1).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    assert np.array_equal(network.predict(picture).scores, opened.predict(picture).scores)


def test_masks_that_cannot_be_trained_on_stop_it_or_are_left_out(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mask(place / "masks" / "b.png", np.zeros((10, 10), np.uint8))
    write_mask(place / "masks" / "c.png", np.full((60, 50), 9, np.uint8))
    (place / "photos" / "broken.jpg").write_bytes(b"no image")
    assert main(words(place)) == 2
    error = capsys.readouterr().err
    for part in ("mask-size", "mask-labels", "image-unreadable", "--leave-out"):
        assert part in error
    assert not (place / "out").exists()
    assert main(words(place, "--leave-out")) == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["images"], result["left_out"]) == (1, 3)


def test_masks_of_0_and_255_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        mask = np.full((60, 50), 255, np.uint8)
        mask[:9] = 0
        write_mask(place / "masks" / f"{name}.png", mask)
    assert main(words(place, "--leave-out")) == 2
    assert "255 is void, so no pixel has a class" in capsys.readouterr().err


def test_without_a_list_the_classes_are_numbered(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "classes.txt").unlink()
    assert main(words(place)) == 0
    assert weakclip.load(place / "out").class_names == ("1", "2")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--preset", "mikro"), "unknown preset 'mikro'; did you mean 'micro'?"),
        (("--network", "DeepLabV3Plu"), "did you mean 'DeepLabV3Plus'?"),
        (("--network", "FPN", "--encoder", "resnet18"), "weights/resnet18.safetensors is missing"),
        (("--crop", "8"), "expected 32 pixels or more, got 8"),
        (("--scales", "0"), "expected one positive number or more"),
        (("--classes", "/nowhere.txt"), "/nowhere.txt"),
        (("--images", "/nowhere"), "/nowhere: no such folder of images"),
    ],
)
def test_usage_is_refused_with_a_way_out(
    place: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert main(words(place, *more)) == 2
    assert message in capsys.readouterr().err


def parsed(*more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return parser.parse_args(["--images", "i", "--masks", "m", "--out", "o", *more])


def test_flags_change_the_preset_and_nothing_else() -> None:
    assert changed(PRESETS["deeplabv2"], parsed()) == PRESETS["deeplabv2"]
    spec = changed(
        PRESETS["deeplabv2"], parsed("--encoder-weights", "none", "--no-crf", "--scales", "1")
    )
    assert spec.network == DeepLabV2(weights=None)
    assert spec.recipe.batch_norm == "trained"
    assert (spec.crf, spec.scales) == (None, (1.0,))
    other = changed(PRESETS["deeplabv3plus"], parsed("--network", "upernet", "--encoder", "tu-x"))
    assert other.network == SMP(
        architecture="upernet", encoder="tu-x", weights="weights/x.safetensors"
    )
    small = changed(PRESETS["micro"], parsed("--encoder", "resnet18", "--encoder-weights", "f.pt"))
    assert small.network == SmallFPN(encoder="resnet18", channels=None, weights="f.pt")
    short = changed(PRESETS["segformer"], parsed("--iterations", "100"))
    assert (short.recipe.iterations, short.recipe.schedule.warmup) == (100, 10)
