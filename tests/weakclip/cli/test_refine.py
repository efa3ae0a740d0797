from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from weakclip.cli.flags.refine import METHODS
from weakclip.cli.main import main
from weakclip.convnet.random_walk import MICRO, RandomWalk
from weakclip.data.formats.masks import read_mask
from weakclip.training.descent import Descent
from weakclip.training.views import Framing

if TYPE_CHECKING:
    from pathlib import Path

CLIP = ("--clip", "random-micro")
RANDOM = ("--backbone", "test_resnet", "--backbone-weights", "random")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random walk that is trained for a step on small views."""
    recipe = Descent(epochs=1, batch_size=2)
    small = partial(RandomWalk, recipe=recipe, framing=Framing(size=64), steps=4)
    monkeypatch.setattr("weakclip.cli.refine.RandomWalk", small)
    monkeypatch.setattr("weakclip.cli.refine.MICRO", replace(MICRO, recipe=recipe))


@pytest.mark.parametrize("form", ["weakclip", "irn"])
def test_maps_go_out_and_come_back_as_masks(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    maps, out = tmp_path / "maps", tmp_path / "out"
    words = ["maps", "--images", str(photos), "--out", str(maps), "--format", form, *CLIP]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 2, "kept": 0, "failed": 0}
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 0, "kept": 2, "failed": 0}
    assert not list(maps.glob(".maps-*"))
    for method in METHODS:
        quick = ["--iterations", "1", "--scales", "1.0"] if method == "weakclip" else []
        words = ["refine", "--images", str(photos), "--maps", str(maps), "--method", method]
        assert main([*words, "--out", str(out / method), *CLIP, *quick]) == 0, method
        assert json.loads(capsys.readouterr().out)["done"] == 2
        mask = read_mask(out / method / "masks" / "sub" / "b.png")
        assert mask.shape == (90, 70)
        plan = json.loads((out / method / "run.json").read_text())["plan"]
        assert plan["method"]["maps"]["folder"] == "maps"  # no path of this machine


def test_methods_that_ask_no_clip_need_none_and_are_for_photographs(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps, out = tmp_path / "maps", tmp_path / "out"
    assert main(["maps", "--images", str(photos), "--out", str(maps), *CLIP]) == 0
    capsys.readouterr()
    for method in ("crf", "pamr", "random-walk"):
        more = RANDOM if method == "random-walk" else ()
        words = ["refine", "--images", str(photos), "--maps", str(maps), "--method", method]
        assert main([*words, "--out", str(out / method), *more]) == 0
        assert "micro-CLIP" not in capsys.readouterr().err
        plan = json.loads((out / method / "run.json").read_text())["plan"]
        assert plan["max_side"] == 512
    walk = plan["method"]["refinement"]
    assert (walk["kind"], walk["background"]["kind"]) == ("RandomWalk", "Otsu")


def test_the_random_walk_is_trained_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, out = tmp_path / "maps", tmp_path / "out"
    assert main(["maps", "--images", str(photos), "--out", str(maps), *CLIP]) == 0
    words = ["refine", "--images", str(photos), "--maps", str(maps), "--out", str(out)]
    words += ["--method", "random-walk", "--power", "16", *RANDOM]
    assert main(words) == 0
    plan = json.loads((out / "run.json").read_text())["plan"]["method"]["refinement"]
    alphas = [plan[name]["alpha"] for name in ("sure_foreground", "background", "sure_background")]
    assert alphas == [4, 16, 32]
    mask = out / "masks" / "a.png"
    first = mask.read_bytes()
    mask.unlink()
    monkeypatch.setattr("weakclip.convnet.random_walk.descend", None)
    assert main([*words, "--resume"]) == 0
    assert mask.read_bytes() == first


def test_a_backbone_without_weights_is_asked_for(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = tmp_path / "maps"
    assert main(["maps", "--images", str(photos), "--out", str(maps), *CLIP]) == 0
    words = ["refine", "--images", str(photos), "--maps", str(maps), "--out", str(tmp_path / "o")]
    assert main([*words, "--method", "random-walk"]) == 2
    assert "expected --backbone-weights FILE, the weights of timm's resnet50" in (
        capsys.readouterr().err
    )
    missing = ("--backbone-weights", str(tmp_path / "none.pth"))
    assert main([*words, "--method", "random-walk", *missing]) == 2
    assert "none.pth is missing; save the state dict" in capsys.readouterr().err
    assert main([*words, "--method", "pamr", *RANDOM]) == 2
    assert "are for --method random-walk" in capsys.readouterr().err


def test_a_damaged_photograph_is_that_images_problem(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = tmp_path / "maps"
    assert main(["maps", "--images", str(photos), "--out", str(maps), *CLIP]) == 0
    picture = photos / "sub" / "b.png"
    picture.write_bytes(picture.read_bytes()[:-2000])  # the size can still be read
    words = ["refine", "--images", str(photos), "--maps", str(maps)]
    for method in ("crf", "random-walk"):
        more = RANDOM if method == "random-walk" else ()
        capsys.readouterr()
        out = ("--out", str(tmp_path / method))
        assert main([*words, "--method", method, *out, *more]) == 1
        outcome = capsys.readouterr()
        assert json.loads(outcome.out) == {"done": 1, "kept": 0, "skipped": 0, "failed": 1}
        assert "sub/b.png: damaged image" in outcome.err


def test_maps_that_do_not_fit_are_named_before_anything_is_made(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = tmp_path / "maps"
    assert main(["maps", "--images", str(photos), "--out", str(maps), *CLIP]) == 0
    (maps / "a.npz").unlink()
    words = ["refine", "--images", str(photos), "--maps", str(maps), *CLIP]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "a.jpg" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.png"))
    assert main([*words, "--method", "weakclip", "--power", "2", "--out", str(tmp_path / "o")]) == 2
    assert "--power: weakclip learns the background" in capsys.readouterr().err


def test_a_photograph_that_exif_turns_is_upright_everywhere(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (90, 70), "red").save(photos / "a.jpg", exif=turned)
    for form in ("weakclip", "irn"):
        maps, out = tmp_path / form, tmp_path / f"{form}-out"
        words = ["--images", str(photos), "--out"]
        assert main(["maps", *words, str(maps), "--format", form, *CLIP]) == 0
        assert main(["refine", *words, str(out), "--maps", str(maps), *CLIP]) == 0
        assert read_mask(out / "masks" / "a.png").shape == (90, 70)
