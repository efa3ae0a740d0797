"""What an earlier run left and cannot be read is made again, and said; no name stops a run."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.weakclip.masking.conftest import picture
from weakclip.cli.main import main
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.folder import list_folder
from weakclip.masking.make import make_masks
from weakclip.masking.plan import MaskPlan, plan_for
from weakclip.network.checkpoints import read_card
from weakclip.training.resume import is_damaged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weakclip.clip.bundle import CLIPBundle

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeroed": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_masks_seeds_and_networks_that_cannot_be_read_are_made_again(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan, damage: str
) -> None:
    files, out = list_folder(photos), tmp_path / "out"
    make_masks(files, clip, out, quick)
    expected = read_mask(out / "masks" / "a.png")
    network = out / "network" / "weights.safetensors"
    work = [*(out / "work").rglob("*.npz"), *(out / "work").rglob("*.png")]
    (kept,) = (out / "work" / "networks").glob("*.safetensors")
    state = out / "work" / "training" / f"{kept.stem}-2.pt"
    state.write_bytes(b"half a state")
    damaged = [out / "masks" / "a.png", network, kept, *work]
    for path in damaged:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    run = make_masks(files, clip, out, quick, resume=True)
    assert (run.done, run.kept, run.failed) == (1, 2, ())
    names = ["masks/a.png", "network/weights.safetensors"]
    assert sorted(run.repaired) == names
    assert sorted(json.loads((out / "run.json").read_text())["repaired"]) == names
    assert np.array_equal(read_mask(out / "masks" / "a.png"), expected)
    assert read_card(network).clip_sha256 == clip.sha256
    assert not state.exists()
    run = make_masks(files, clip, out, quick, resume=True)
    assert (run.done, run.kept, run.repaired) == (0, 3, ())


def test_a_network_whose_weights_changed_is_trained_again(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan
) -> None:
    files, out = list_folder(photos), tmp_path / "out"
    make_masks(files, clip, out, quick)
    path = out / "network" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-100:] = bytes(100)
    path.write_bytes(bytes(content))
    (out / "masks" / "a.png").unlink()
    assert make_masks(files, clip, out, quick, resume=True).repaired == (
        "network/weights.safetensors",
    )


def test_a_damaged_mask_of_an_image_that_is_gone_stops_nothing(
    photos: Path, tmp_path: Path, clip: CLIPBundle
) -> None:
    files, plan, out = list_folder(photos), plan_for(clip, "clip-es"), tmp_path / "out"
    make_masks(files, clip, out, plan)
    (out / "masks" / "a.png").write_bytes(b"")
    (photos / "a.jpg").unlink()
    run = make_masks(files, clip, out, plan, resume=True)
    assert (run.done, run.kept, [each.name for each in run.failed]) == (0, 2, ["a.jpg"])
    assert len(json.loads((out / "masks.json").read_text())["images"]) == 2


def test_the_command_says_what_was_made_again(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["masks", "--images", str(photos), "--out", str(photos.parent / "out")]
    words += ["--clip", "random-micro", "--device", "cpu", "--no-crf"]
    assert main(words) == 0
    (photos.parent / "out" / "masks" / "a.png").write_bytes(b"")
    assert main([*words, "--resume"]) == 0
    assert "masks/a.png: could not be read and was made again" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[]", "null", "[" * 100_000, "{"])
def test_a_damaged_record_of_the_run_is_one_line(
    photos: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (photos.parent / "out").mkdir()
    (photos.parent / "out" / "run.json").write_text(content)
    words = ["masks", "--images", str(photos), "--out", str(photos.parent / "out")]
    assert main([*words, "--clip", "random-micro", "--resume"]) == 2
    error = capsys.readouterr().err
    assert "run.json: damaged" in error
    assert len(error.splitlines()) == 2  # the first says what micro-CLIP is for


def test_names_too_long_or_of_no_utf8_and_pipes_are_those_images_problem(
    photos: Path, tmp_path: Path, clip: CLIPBundle
) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    picture(photos / odd, (64, 64))
    picture(photos / ("x" * 251 + ".png"), (64, 64))
    os.mkfifo(photos / "pipe.png")
    with (photos / "labels.csv").open("a") as file:
        file.write("".join(f"{name},dog\n" for name in ("y" * 300 + ".jpg", "pipe.png")))
        file.write("x" * 251 + ".png,dog\n")
    (tmp_path / "truth").mkdir()
    files = list_folder(photos, masks=tmp_path / "truth")
    out, plan = tmp_path / "out", plan_for(clip)
    assert odd in files.names
    files.image_labels[files.names.index(odd), 0] = True  # a CSV cannot name it
    run = make_masks(files, clip, out, plan)
    reasons = {each.name: each.reason for each in run.failed}
    assert reasons.keys() == {"y" * 300 + ".jpg", "pipe.png"}
    assert "File name too long; shorten the name" in reasons["y" * 300 + ".jpg"]
    assert "is a pipe or a device, not a file" in reasons["pipe.png"]
    assert run.done == 5
    assert read_mask(out / "masks" / odd).shape == (64, 64)
    assert len(files.sha256) == 64
    assert make_masks(files, clip, out, plan, resume=True).kept == 5


def test_a_state_with_a_broken_checksum_is_damaged(tmp_path: Path) -> None:
    parts = ("recipe", "components", "optimiser", "random", "random_cuda", "progress")
    torch.save(dict.fromkeys(parts) | {"random": torch.arange(1000)}, tmp_path / "a.state")
    assert not is_damaged(tmp_path / "a.state")
    content = (tmp_path / "a.state").read_bytes()
    place = content.index(torch.arange(1000).numpy().tobytes()[:64])
    (tmp_path / "a.state").write_bytes(content[: place + 8] + b"\7" + content[place + 9 :])
    assert is_damaged(tmp_path / "a.state")
    torch.save({"recipe": {}}, tmp_path / "b.state")
    assert is_damaged(tmp_path / "b.state")


def test_networks_of_earlier_versions_have_no_checksum_and_are_read(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan
) -> None:
    files, out = list_folder(photos), tmp_path / "out"
    make_masks(files, clip, out, quick)
    path = out / "network" / "weights.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    del metadata["tensors_sha256"]
    save_file(load_file(path), path, metadata)
    (out / "masks" / "a.png").unlink()
    run = make_masks(files, clip, out, quick, resume=True)
    assert (run.done, run.repaired) == (1, ())
