from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from weakclip.cli.main import main
from weakclip.cli.refine import METHODS
from weakclip.data.formats.masks import read_mask

if TYPE_CHECKING:
    from pathlib import Path

CLIP = ("--clip", "random-micro")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, size in (("a.jpg", (70, 90)), ("sub/b.png", (90, 70))):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "labels.csv").write_text("file,labels\na.jpg,dog\nsub/b.png,cat;dog\n")
    return folder


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
