"""What is written is read back, by us and by NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weakclip.data.formats.maps import read_maps
from weakclip.data.formats.write_maps import write_irn_maps, write_maps

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

TAGS = torch.tensor([False, True, False, True])
SIZE = (37, 50)


def random_cams(*grid: int) -> Tensor:
    return torch.rand(4, *grid, generator=torch.Generator().manual_seed(5))


def test_our_files_are_read_back_exactly_in_half_precision(tmp_path: Path) -> None:
    cams = random_cams(3, 4)
    write_maps(tmp_path / "a.npz", cams, TAGS, SIZE)
    read = read_maps(tmp_path / "a.npz")
    assert (read.labels, read.size) == ((2, 4), SIZE)
    assert np.array_equal(read.maps, cams[TAGS].half().float().numpy())
    again = torch.zeros_like(cams)
    again[TAGS] = torch.from_numpy(read.maps)
    write_maps(tmp_path / "b.npz", again, TAGS, SIZE)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_our_files_know_the_size_of_their_image(tmp_path: Path) -> None:
    write_maps(tmp_path / "a.npz", random_cams(3, 4), TAGS, SIZE)
    read = read_maps(tmp_path / "a.npz")
    assert read.misfit(SIZE) is None
    assert read.misfit((36, 50)) == "maps of an image (37, 50), image (36, 50)"


def test_the_maps_of_coco_take_less_than_4_gb(tmp_path: Path) -> None:
    """82,081 images of 480 x 640 with three classes, more than the 2.9 that COCO has."""
    for stride in (16, 8):
        maps = torch.rand(80, 480 // stride, 640 // stride)
        write_maps(tmp_path / "a.npz", maps, torch.arange(80) < 3, (480, 640))
        assert 82_081 * (tmp_path / "a.npz").stat().st_size < 4e9


@pytest.mark.filterwarnings("error")
def test_irns_files_are_read_back_exactly(tmp_path: Path) -> None:
    cams = random_cams(*SIZE)
    write_irn_maps(tmp_path / "a.npy", cams, TAGS, SIZE)
    trusted = np.load(tmp_path / "a.npy", allow_pickle=True).item()  # what irn's readers do
    assert trusted["keys"].tolist() == [1, 3]
    assert np.array_equal(trusted["high_res"], cams[TAGS].numpy())
    assert trusted["cam"].shape == (2, 10, 13)
    assert trusted["cam"].dtype == np.float32
    read = read_maps(tmp_path / "a.npy")
    assert read.labels == (2, 4)
    assert np.array_equal(read.maps, cams[TAGS].numpy())
    assert np.array_equal(read_maps(tmp_path / "a.npy", grid="coarse").maps, trusted["cam"])


def test_irns_files_name_no_module_that_numpy_1_lacks(tmp_path: Path) -> None:
    write_irn_maps(tmp_path / "a.npy", random_cams(3, 4), TAGS, SIZE)
    assert b"_core" not in (tmp_path / "a.npy").read_bytes()


def test_coarse_maps_are_brought_to_the_image_for_irn(tmp_path: Path) -> None:
    write_irn_maps(tmp_path / "a.npy", torch.full((4, 1, 1), 0.25), TAGS, SIZE)
    read = read_maps(tmp_path / "a.npy")
    assert read.misfit(SIZE) is None
    assert np.allclose(read.maps, 0.25)


def test_an_image_without_tags_has_an_empty_file(tmp_path: Path) -> None:
    none = torch.zeros(4, dtype=torch.bool)
    write_maps(tmp_path / "a.npz", random_cams(3, 4), none, SIZE)
    write_irn_maps(tmp_path / "b.npy", random_cams(3, 4), none, SIZE)
    assert read_maps(tmp_path / "a.npz").labels == read_maps(tmp_path / "b.npy").labels == ()
    assert read_maps(tmp_path / "b.npy").misfit(SIZE) is None


@pytest.mark.parametrize("value", [torch.nan, -0.1, 1.1])
def test_values_that_are_no_map_are_not_written(tmp_path: Path, value: float) -> None:
    cams = random_cams(3, 4)
    cams[0] = value
    write_maps(tmp_path / "a.npz", cams, TAGS, SIZE)  # class 0 is not tagged
    cams[1, 0, 0] = value
    with pytest.raises(ValueError, match=r"expected maps in \[0, 1\]"):
        write_maps(tmp_path / "a.npz", cams, TAGS, SIZE)


def test_maps_and_tags_of_different_classes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected maps \(F, h, w\) and tags \(F,\)"):
        write_irn_maps(tmp_path / "a.npy", random_cams(3, 4)[:3], TAGS, SIZE)
