from __future__ import annotations

import errno
import hashlib
import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from weakclip.data.build.job import MaskJob, build_masks, check_lists, claim, write_lists
from weakclip.data.formats.masks import read_mask, write_mask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from weakclip.data.build.job import Built


def job(name: str, label: int) -> MaskJob:
    return MaskJob(image_id=name, make=lambda: np.full((2, 3), label, dtype=np.uint8))


def damaged() -> NDArray[np.uint8]:
    raise ValueError("damaged")


def build(
    folder: Path, jobs: list[MaskJob], report: Callable[[int, int], None], *, replace: bool = False
) -> Built:
    return build_masks(jobs, folder, replace=replace, report=report)


def silent(_done: int, _total: int) -> None:
    pass


def test_equal_masks_are_kept_and_damaged_ones_made_again(tmp_path: Path) -> None:
    build(tmp_path, [job("a", 1), job("b", 1)], silent)
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:-30])
    built = build(tmp_path, [job("a", 1), job("b", 2), job("c", 2)], silent)
    assert (built.written, built.kept, built.failed) == (2, 1, ())
    labels = [int(read_mask(tmp_path / f"{name}.png")[0, 0]) for name in "abc"]
    assert labels == [1, 2, 2]


@pytest.mark.parametrize(
    ("there", "got"),
    [(np.full((2, 3), 2), "other labels"), (np.full((3, 2), 1), r"got \(H, W\) \(3, 2\)")],
)
def test_a_foreign_mask_is_not_taken_for_one_of_the_build(
    tmp_path: Path, there: NDArray[np.int64], got: str
) -> None:
    write_mask(tmp_path / "a.png", there.astype(np.uint8))
    built = build(tmp_path, [job("a", 1), job("b", 1)], silent)
    assert (built.written, built.kept) == (1, 0)
    (failure,) = built.failed
    assert failure.name == "a"
    assert re.search(f"{got}.*move it away, or use --on-existing replace", failure.reason)
    assert np.array_equal(read_mask(tmp_path / "a.png"), there)
    assert build(tmp_path, [job("a", 1)], silent, replace=True).written == 1
    assert np.array_equal(read_mask(tmp_path / "a.png"), np.ones((2, 3)))


def test_masks_of_sub_folders_lie_in_sub_folders(tmp_path: Path) -> None:
    assert build(tmp_path, [job("x/a", 1), job("y/a", 2)], silent).written == 2
    assert [read_mask(tmp_path / f"{name}/a.png")[0, 0] for name in "xy"] == [1, 2]


def test_a_damaged_source_stops_nothing(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    jobs = [MaskJob(image_id="a", make=damaged), job("b", 1)]
    built = build(tmp_path, jobs, lambda done, total: seen.append((done, total)))
    assert [(one.name, one.reason) for one in built.failed] == [("a", "damaged")]
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_a_full_disk_stops_and_leaves_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Image.Image.save

    def full(image: Image.Image, path: Path, format: str) -> None:
        if "c.png" in path.name:
            path.write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(image, path, format)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        build(tmp_path, [job(name, 1) for name in "abcd"], silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    monkeypatch.undo()
    assert build(tmp_path, [job(name, 1) for name in "abcd"], silent).kept == 2


def test_lists_are_written_and_their_checksums_recorded(tmp_path: Path) -> None:
    claim(tmp_path, {"ids": "original"}, replace=False)
    records = write_lists(tmp_path, {"train": ("a", "b"), "val": ("c",)})
    path = tmp_path / "ImageSets" / "Segmentation" / "train.txt"
    assert path.read_text() == "a\nb\n"
    assert records["train"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    record = json.loads((tmp_path / "weakclip-build.json").read_text())
    assert record["settings"] == {"ids": "original"}
    assert record["lists"]["val"]["count"] == 1


def test_a_folder_of_other_settings_is_refused_or_claimed_anew(tmp_path: Path) -> None:
    claim(tmp_path, {"ids": "original"}, replace=False)
    claim(tmp_path, {"ids": "original"}, replace=False)
    with pytest.raises(ValueError, match=r"was built with .*original.*; choose another folder"):
        claim(tmp_path, {"ids": "contiguous"}, replace=False)
    claim(tmp_path, {"ids": "contiguous"}, replace=True)
    (tmp_path / "weakclip-build.json").write_text("{")
    with pytest.raises(ValueError, match="damaged record"):
        claim(tmp_path, {"ids": "contiguous"}, replace=False)


def test_somebodys_list_is_kept_if_it_is_the_same_and_refused_if_not(tmp_path: Path) -> None:
    path = tmp_path / "ImageSets" / "Segmentation" / "trainaug.txt"
    path.parent.mkdir(parents=True)
    pairs = "/JPEGImages/a.jpg /SegmentationClassAug/a.png\r\n/JPEGImages/b.jpg /x/b.png\r\n"
    path.write_bytes(pairs.encode())
    check_lists(tmp_path, {"trainaug": ("a", "b"), "val": ("c",)}, replace=False)
    write_lists(tmp_path, {"trainaug": ("a", "b")})
    assert path.read_bytes() == pairs.encode()
    for other in (("b", "a"), ("a",)):
        with pytest.raises(ValueError, match=r"trainaug\.txt: is there with other images"):
            check_lists(tmp_path, {"trainaug": other}, replace=False)
    check_lists(tmp_path, {"trainaug": ("a",)}, replace=True)


def test_a_mask_that_holds_colours_is_made_again(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    assert build(tmp_path, [job("a", 1)], silent).written == 1
    assert build(tmp_path, [job("a", 1)], silent).kept == 1
