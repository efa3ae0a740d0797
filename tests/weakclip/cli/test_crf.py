from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from weakclip.cli.crf import add_parser
from weakclip.crf.dense import IRN, CRFConfig, Gaussian, dense_crf_inference
from weakclip.data.formats.masks import read_mask

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """images/{a,b}.png and probs/a.npy, probs/b.npz."""
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "probs").mkdir()
    for stem in "ab":
        pixels = generator.integers(0, 256, (12, 15, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{stem}.png")
        probs = generator.random((3, 12, 15), dtype=np.float32)
        if stem == "a":
            np.save(tmp_path / "probs" / "a.npy", probs)
        else:
            np.savez(tmp_path / "probs" / "b.npz", probs=probs, other=np.zeros(2))
    return tmp_path


def crf(folders: Path, *flags: str, **places: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    arguments = ["crf"]
    for name in ("images", "probs", "out"):
        arguments += [f"--{name}", str(folders / places.get(name, name))]
    args = parser.parse_args([*arguments, *flags])
    code: int = args.run(args)
    return code


def test_labels_are_those_of_the_function(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crf(folders, "--preset", "irn") == 0
    assert json.loads(capsys.readouterr().out) == {"done": 2, "kept": 0, "failed": 0}
    with Image.open(folders / "images" / "a.png") as image:
        pixels = np.array(image)
    expected = dense_crf_inference(pixels, np.load(folders / "probs" / "a.npy"), IRN).argmax(0)
    np.testing.assert_array_equal(read_mask(folders / "out" / "a.png"), expected)
    assert sorted(path.name for path in (folders / "out").iterdir()) == ["a.png", "b.png"]


def test_marginals_of_own_terms(folders: Path) -> None:
    flags = ("--save", "marginals", "--gaussian", "2", "4", "--iterations", "3", "--device", "cpu")
    assert crf(folders, *flags) == 0
    config = CRFConfig(terms=(Gaussian(sxy=2, weight=4),), iterations=3)
    with Image.open(folders / "images" / "b.png") as image:
        pixels = np.array(image)
    with np.load(folders / "probs" / "b.npz") as file:
        expected = dense_crf_inference(pixels, file["probs"], config)
    np.testing.assert_array_equal(np.load(folders / "out" / "b.npy"), expected)


def test_labels_that_are_zero_everywhere_can_be_left_out(folders: Path) -> None:
    probs = np.load(folders / "probs" / "a.npy")
    probs[1] = 0
    np.save(folders / "probs" / "a.npy", probs)
    assert crf(folders, "--save", "marginals", "--skip-zero-labels") == 0
    assert not np.load(folders / "out" / "a.npy")[1].any()


def test_existing_files_can_be_kept(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "out").mkdir()
    (folders / "out" / "a.png").write_bytes(b"mine")
    assert crf(folders, "--on-existing", "keep") == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 1
    assert (folders / "out" / "a.png").read_bytes() == b"mine"
    assert crf(folders) == 0
    assert (folders / "out" / "a.png").read_bytes() != b"mine"


def test_bad_files_are_reported_and_counted(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probs = np.ones((2, 12, 15), dtype=np.float32)
    bad = {
        "noimage": probs,
        "pickled": np.array([{}], dtype=object),
        "flat": probs[0],
        "counts": probs.astype(int),
        "nan": probs * np.nan,
        "size": probs[:, 1:],
        "damaged": probs,
    }
    for stem, array in bad.items():
        np.save(folders / "probs" / f"{stem}.npy", array, allow_pickle=True)
        if stem != "noimage":
            (folders / "images" / f"{stem}.png").write_bytes(
                (folders / "images" / "a.png").read_bytes()
            )
    (folders / "images" / "damaged.png").write_bytes(b"not a picture")
    (folders / "probs" / "cut.npy").write_bytes(b"\x93NUMPY")
    (folders / "probs" / "twice.npy").write_bytes((folders / "probs" / "a.npy").read_bytes())
    (folders / "probs" / "twice.npz").write_bytes(b"")
    np.savez(folders / "probs" / "unnamed.npz", one=probs, two=probs)
    assert crf(folders) == 1
    out = capsys.readouterr()
    assert json.loads(out.out) == {"done": 2, "kept": 0, "failed": len(bad) + 3}
    reported = {line.split(":")[0] for line in out.err.splitlines()}
    assert reported >= {*bad, "cut", "twice", "unnamed"}
    assert sorted(path.name for path in (folders / "out").iterdir()) == ["a.png", "b.png"]


def test_links_out_of_the_folder_are_not_followed(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = folders / "secret.npy"
    (folders / "probs" / "a.npy").rename(outside)
    (folders / "probs" / "a.npy").symlink_to(outside)
    assert crf(folders) == 1
    assert "leads out of" in capsys.readouterr().err


def test_too_many_labels_need_marginals(folders: Path) -> None:
    np.save(folders / "probs" / "a.npy", np.full((256, 12, 15), 1 / 256, dtype=np.float32))
    (folders / "probs" / "b.npz").unlink()
    assert crf(folders, "--iterations", "1") == 1
    assert crf(folders, "--iterations", "1", "--save", "marginals") == 0


@pytest.mark.parametrize(
    ("flags", "places", "message"),
    [
        ((), {"images": "nowhere"}, "no such folder"),
        ((), {"out": "probs"}, "nothing would be safe"),
        ((), {"out": "secret.npy"}, "is a file"),
        ((), {"probs": "images"}, "no .npy or .npz"),
        (("--clip", "2"), {}, "--clip"),
        (("--iterations", "-1"), {}, "iterations"),
        (("--gaussian", "0", "1"), {}, "positive"),
    ],
)
def test_wrong_usage_exits_2(
    folders: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    places: dict[str, str],
    message: str,
) -> None:
    (folders / "secret.npy").write_bytes(b"")
    assert crf(folders, *flags, **places) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_missing_device_exits_2(folders: Path) -> None:
    assert crf(folders, "--device", "cuda") == 2
