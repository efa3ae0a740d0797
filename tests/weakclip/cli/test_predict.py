from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from weakclip.cli.main import main
from weakclip.data.formats.masks import read_mask, write_mask
from weakclip.masking.submission import FOLDER, write_submission

if TYPE_CHECKING:
    from pathlib import Path


def test_a_trained_network_labels_a_folder_and_packs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    (photos / "cat").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for name in ("cat/a.jpg", "cat/b.png"):
        Image.fromarray(noise).save(photos / name)
    train = ["masks", "--images", str(photos), "--out", str(tmp_path / "out"), "--clip"]
    quick = ["random-micro", "--method", "weakclip", "--iterations", "1", "--scales", "1.0"]
    assert main([*train, *quick, "--no-crf"]) == 0
    (photos / "broken.png").write_bytes(b"no image")
    capsys.readouterr()
    words = ["predict", "--network", str(tmp_path / "out"), "--images", str(photos)]
    assert main([*words, "--out", str(tmp_path / "new")]) == 1
    out = capsys.readouterr()
    assert json.loads(out.out.splitlines()[-1]) == {"images": 3, "failed": 1, "packed": None}
    assert "broken.png" in out.err
    mask = read_mask(tmp_path / "new" / "masks" / "cat" / "a.png")
    assert mask.shape == (70, 90)
    assert set(np.unique(mask).tolist()) <= {0, 1}
    assert (tmp_path / "new" / "preview" / "cat" / "b.jpg").is_file()


def test_a_clip_that_its_name_does_not_find_can_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, network = tmp_path / "photos", tmp_path / "out" / "network" / "network.json"
    (photos / "cat").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "cat" / "a.png")
    train = ["masks", "--images", str(photos), "--out", str(tmp_path / "out"), "--clip"]
    quick = ["random-micro", "--method", "weakclip", "--iterations", "1", "--scales", "1.0"]
    assert main([*train, *quick]) == 0
    network.write_text(network.read_text().replace("random-micro-clip", "my-clip"))
    words = ["predict", "--network", str(tmp_path / "out"), "--images", str(photos)]
    words += ["--out", str(tmp_path / "new")]
    capsys.readouterr()
    assert main(words) == 2
    assert "its CLIP, my-clip, is not found; give it (`--clip`" in capsys.readouterr().err
    assert main([*words, "--weights", "x.pt"]) == 2
    assert "--weights: say which CLIP they are of" in capsys.readouterr().err
    assert main([*words, "--clip", "random-micro"]) == 0


def test_usage_is_checked_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "--network", str(tmp_path), "--images", str(tmp_path), "--out", "out"]
    assert main(words) == 2
    assert "no network.json" in capsys.readouterr().err
    assert main([*words, "--voc-submission", "x.tar.gz"]) == 2
    assert "give both, or neither" in capsys.readouterr().err


def test_a_submission_is_whole_or_refused(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for name, label in (("a", 3), ("b", 20)):
        write_mask(masks / f"{name}.png", np.full((4, 5), label, np.uint8))
    packed = tmp_path / "results.tar.gz"
    assert write_submission(packed, masks, ["a", "b"], expected=2) == 2
    with tarfile.open(packed) as archive:
        assert archive.getnames() == [f"{FOLDER}/a.png", f"{FOLDER}/b.png"]
    with pytest.raises(ValueError, match="expected 1456 different ids, got 2"):
        write_submission(packed, masks, ["a", "b"])
    with pytest.raises(ValueError, match="no mask of 1 of 2 images, first c"):
        write_submission(packed, masks, ["a", "c"], expected=2)
    write_mask(masks / "b.png", np.full((4, 5), 255, np.uint8))
    with pytest.raises(ValueError, match="label 255; the server takes 0 to 20"):
        write_submission(tmp_path / "other.tar.gz", masks, ["a", "b"], expected=2)
    assert not (tmp_path / "other.tar.gz").exists()
