from __future__ import annotations

import argparse
import json
import os
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from weakclip.cli.crf import run
from weakclip.cli.flags.crf import add_flags
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
    add_flags(parser)
    arguments: list[str] = []
    for name in ("images", "probs", "out"):
        arguments += [f"--{name}", str(folders / places.get(name, name))]
    args = parser.parse_args([*arguments, *flags])
    return run(args)


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


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_images_are_read_as_everywhere_else(folders: Path) -> None:
    """16 bits are scaled, EXIF turns, what is transparent is white: the labels do not change."""
    flags = ("--iterations", "2", "--device", "cpu")
    grey = np.random.default_rng(1).integers(0, 256, (12, 15), dtype=np.uint8)
    grey[:, :5] = 255
    Image.fromarray(grey).save(folders / "images" / "a.png")
    np.save(folders / "probs" / "b.npy", np.load(folders / "probs" / "a.npy"))
    (folders / "probs" / "b.npz").unlink()
    alpha = np.stack([grey] * 4, axis=2)
    alpha[:, 5:, 3] = 255
    alpha[:, :5] = 0  # black and transparent
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    images = {
        "deep": Image.fromarray(grey.astype(np.uint16) * 257),
        "clear": Image.fromarray(alpha),
        "turned": Image.fromarray(np.ascontiguousarray(grey[::-1, ::-1])),
    }
    for name, image in images.items():
        image.save(folders / "images" / "b.png", exif=exif if name == "turned" else None)
        assert crf(folders, *flags, out=name) == 0
        assert len(set(files_of(folders / name).values())) == 1, name


def test_a_shape_that_no_file_can_have_is_one_line(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "probs" / "b.npz").unlink()
    for stem, shape in (("huge", f"({1 << 70}, 2, 2)"), ("large", f"(1, {1 << 30}, {1 << 30})")):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        (folders / "probs" / f"{stem}.npy").write_bytes(magic + header)
    os.mkfifo(folders / "probs" / "pipe.npy")
    assert crf(folders, "--iterations", "1") == 1
    out = capsys.readouterr()
    assert json.loads(out.out) == {"done": 1, "kept": 0, "failed": 3}
    for stem in ("huge", "large", "pipe"):
        (line,) = [each for each in out.err.splitlines() if each.startswith(f"{stem}: ")]
        assert ("is a pipe" if stem == "pipe" else "damaged file of scores") in line


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


def test_scores_that_are_no_probabilities_fail_and_can_be_asked_for(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probs = np.load(folders / "probs" / "a.npy")
    np.save(folders / "probs" / "a.npy", probs * 255)
    (folders / "probs" / "b.npz").unlink()
    assert crf(folders) == 1
    assert "a: a.npy: values" in capsys.readouterr().err
    assert not list((folders / "out").iterdir())
    assert crf(folders, "--normalise", "--iterations", "1") == 0
    assert "a.npy" not in capsys.readouterr().err
    np.save(folders / "probs" / "a.npy", probs)
    assert crf(folders, "--iterations", "1") == 0
    assert "1 of 1 files: labels of a pixel add up to" in capsys.readouterr().err
    np.save(folders / "probs" / "a.npy", probs * 9 - 4)
    assert crf(folders, "--softmax", "--iterations", "1") == 0
    with pytest.raises(SystemExit):
        crf(folders, "--softmax", "--normalise")


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
        ((), {"out": "dangling"}, "choose another --out"),
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
    (folders / "dangling").symlink_to("nowhere")
    assert crf(folders, *flags, **places) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_missing_device_exits_2(folders: Path) -> None:
    assert crf(folders, "--device", "cuda") == 2


def test_images_of_one_base_name_in_different_folders_are_refined_apart(folders: Path) -> None:
    for place in ("images", "probs"):
        for name in ("x", "y"):
            (folders / place / name).mkdir()
    for name, stem in (("x", "a"), ("y", "b")):
        pixels = (folders / "images" / f"{stem}.png").read_bytes()
        (folders / "images" / name / "a.png").write_bytes(pixels)
    probs = np.load(folders / "probs" / "a.npy")
    np.save(folders / "probs" / "x" / "a.npy", probs)
    np.save(folders / "probs" / "y" / "a.npy", probs[::-1])
    assert crf(folders) == 0
    written = sorted(path.relative_to(folders / "out") for path in (folders / "out").rglob("*.png"))
    assert [path.as_posix() for path in written] == ["a.png", "b.png", "x/a.png", "y/a.png"]
    first, second = (read_mask(folders / "out" / name / "a.png") for name in "xy")
    assert not np.array_equal(first, second)


def test_names_that_differ_in_case_have_results_of_their_own_on_any_file_system(
    folders: Path,
) -> None:
    for place, name in (("images", "A.png"), ("probs", "A.npy")):
        source = folders / place / name.lower()
        (folders / place / name).write_bytes(source.read_bytes())
    assert crf(folders) == 0
    names = [path.name for path in (folders / "out").iterdir()]
    assert len({name.casefold() for name in names}) == 3


def test_an_image_of_another_case_is_asked_for(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "images" / "a.png").rename(folders / "images" / "A.png")
    assert crf(folders) == 1
    assert "got none; did you mean 'A'?" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["dict", "objects", "pickle", "npz"])
def test_a_file_of_maps_is_called_one(
    folders: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    maps = {"keys": np.array([1, 2]), "cam": np.zeros((2, 3, 4), dtype=np.float32)}
    for old in (folders / "probs").iterdir():
        old.unlink()
    path = folders / "probs" / "a.npy"
    match kind:
        case "dict":
            np.save(path, maps, allow_pickle=True)  # type: ignore[arg-type]
        case "objects":
            np.save(path, np.array([maps, maps]), allow_pickle=True)
        case "pickle":
            path.write_bytes(pickle.dumps(maps))
        case _:
            np.savez(path.with_suffix(".npz"), probs=np.array([maps], dtype=object))
    assert crf(folders) == 1
    error = capsys.readouterr().err
    assert "Python objects" in error
    assert "`weakclip refine --maps` reads" in error
