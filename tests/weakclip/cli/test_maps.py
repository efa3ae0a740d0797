from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from weakclip.cli.main import INTERRUPTED, main
from weakclip.cli.maps import SOURCES
from weakclip.data.formats.masks import write_mask
from weakclip.training import descent

if TYPE_CHECKING:
    from pathlib import Path

CLIP = ("--clip", "random-micro")
NETWORK = ("--source", "cam", "--backbone", "test_resnet")


def written(path: Path) -> np.ndarray:
    with np.load(path) as file:
        found: np.ndarray = file["maps"]
    return found


@pytest.mark.parametrize("source", [*SOURCES, "clip-es", "cam"])
def test_every_source_writes_maps_of_the_tagged_classes(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    out = tmp_path / "maps"
    words = ["maps", "--images", str(photos), "--out", str(out), "--source", source, *CLIP]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 2, "kept": 0, "failed": 0}
    assert [len(written(out / name)) for name in ("a.npz", "sub/b.npz")] == [1, 2]
    assert 0 < written(out / "sub" / "b.npz").max() <= 1


def test_a_classifier_is_trained_once_and_can_be_used_elsewhere(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "maps"
    words = ["maps", "--images", str(photos), *NETWORK]
    start = [*words, "--backbone-weights", "random", "--epochs", "2"]
    assert main([*start, "--out", str(out)]) == 0
    assert "micro-CLIP" not in capsys.readouterr().err
    first = (out / "a.npz").read_bytes()
    (out / "a.npz").unlink()
    monkeypatch.setattr("weakclip.convnet.classifier.descend", None)
    assert main([*words, "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 1, "kept": 1, "failed": 0}
    assert (out / "a.npz").read_bytes() == first
    classifier = ("--classifier", str(out / "classifier.safetensors"))
    assert main([*words, "--out", str(tmp_path / "again"), *classifier]) == 0
    assert (tmp_path / "again" / "a.npz").read_bytes() == first
    capsys.readouterr()
    (photos / "labels.csv").write_text("file,labels\na.jpg,owl\nsub/b.png,cat;owl\n")
    assert main([*words, "--out", str(tmp_path / "other"), *classifier]) == 2
    assert "is a classifier of cat, dog; expected cat, owl" in capsys.readouterr().err


def test_a_training_that_is_stopped_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--backbone-weights", "random", "--epochs", "4")  # a step each
    words = ["maps", "--images", str(photos), *NETWORK, *flags, "--out"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    rows, steps, stops = descent._Batches.rows, list[int](), [1]

    def pressing(self: descent._Batches, step: int) -> list[int]:
        steps.append(step)
        if step in stops:
            stops.remove(step)
            os.kill(os.getpid(), signal.SIGINT)
        return rows(self, step)

    def failing(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(descent._Batches, "rows", pressing)
    out = tmp_path / "parts"
    assert main([*words, str(out)]) == INTERRUPTED
    with monkeypatch.context() as patch:  # stopped between the last step and the classifier
        patch.setattr("weakclip.cli.maps.save_classifier", failing)
        assert main([*words, str(out)]) == INTERRUPTED
    assert main([*words, str(out)]) == 0
    assert steps == [0, 1, 2, 3]
    for name in ("classifier.safetensors", "a.npz", "sub/b.npz"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(out.glob("training-*"))


def test_a_classifier_of_timm_gives_its_maps(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=2)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    words = ["maps", "--images", str(photos), *NETWORK, "--classifier"]
    assert main([*words, str(tmp_path / "own.pth"), "--out", str(tmp_path / "maps")]) == 0
    assert len(written(tmp_path / "maps" / "sub" / "b.npz")) == 2
    capsys.readouterr()
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "imagenet.pth")
    assert main([*words, str(tmp_path / "imagenet.pth"), "--out", str(tmp_path / "other")]) == 2
    assert "expected a classifier of 2 classes" in capsys.readouterr().err
    (tmp_path / "text.pth").write_text("no weights")
    assert main([*words, str(tmp_path / "text.pth"), "--out", str(tmp_path / "other")]) == 2
    assert "holds no weights that can be read" in capsys.readouterr().err


def test_maps_without_evidence_are_counted(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(_self: object, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*labels.shape, 4, 4)

    monkeypatch.setattr("weakclip.stages.maps.FrozenCLIPMasker.cams", nothing)
    words = ["maps", "--images", str(photos), "--out", str(tmp_path / "maps"), *CLIP]
    assert main(words) == 0
    assert "3 maps of tagged classes are 0 everywhere" in capsys.readouterr().err


def test_a_damaged_photograph_does_not_stop_the_training(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "a.jpg").write_bytes((photos / "a.jpg").read_bytes()[:500])
    words = ["maps", "--images", str(photos), "--out", str(tmp_path / "maps"), *NETWORK]
    assert main([*words, "--backbone-weights", "random", "--epochs", "1"]) == 1
    outcome = capsys.readouterr()
    assert json.loads(outcome.out) == {"written": 1, "kept": 0, "failed": 1}
    assert "a.jpg: " in outcome.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (NETWORK, "expected --backbone-weights FILE, the weights of timm's test_resnet"),
        (("--source", "gem", *CLIP, "--epochs", "3"), "--epochs: is for --source cam"),
        (("--source", "clip-es", *CLIP, "--batch", "0"), "batch size: expected 1 image or more"),
    ],
)
def test_wrong_usage_exits_2(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    message: str,
) -> None:
    assert main(["maps", "--images", str(photos), "--out", str(tmp_path / "out"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A tree of VOC with one image of a cat, its mask, and a list."""
    root = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for name in ("a", "b"):
        Image.fromarray(noise).save(root / "JPEGImages" / f"{name}.jpg")
        xml = "<annotation><object><name>cat</name></object></annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(xml)
        write_mask(root / "SegmentationClass" / f"{name}.png", np.zeros((70, 90), np.uint8))
        (root / "ImageSets" / "Segmentation" / f"list-{name}.txt").write_text(f"{name}\n")
    return root


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_tree_of_voc_is_one(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--images", str(voc), "--split", "list-a", *CLIP)
    maps, masks, trained = (tmp_path / name for name in ("maps", "masks", "trained"))
    assert main(["maps", *given, "--out", str(maps)]) == 0
    assert names(maps) == ["a.npz"]
    assert main(["refine", *given, "--maps", str(maps), "--out", str(masks)]) == 0
    assert names(masks / "masks") == ["a.png"]
    assert "8 cat\n" in (masks / "classes.txt").read_text()
    quick = ("--method", "weakclip", "--iterations", "1", "--scales", "1.0")
    assert main(["masks", *given, *quick, "--out", str(trained)]) == 0
    assert names(trained / "masks") == ["a.png"]
    words = ["predict", "--images", str(voc), "--network", str(trained), "--out"]
    assert main([*words, str(tmp_path / "new")]) == 0
    assert names(tmp_path / "new" / "masks") == ["a.png", "b.png"]
    assert main([*words, str(voc / "JPEGImages" / "new")]) == 2
    assert "lies in the folder of the images" in capsys.readouterr().err
