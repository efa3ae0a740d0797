from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.io import savemat

from weakclip.data.build.sbd import read_sbd_mask, sbd_masks

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = np.array([[0, 15, 15], [20, 0, 1]], dtype=np.uint8)


def write_sbd(path: Path, labels: NDArray[np.uint8] | NDArray[np.float64]) -> None:
    """A .mat as in the archive: a 1 x 1 struct GTcls with three fields, the first nested."""
    path.parent.mkdir(parents=True, exist_ok=True)
    present = np.unique(labels[labels > 0])
    boundaries = np.empty((20, 1), dtype=object)
    for index in range(20):
        boundaries[index, 0] = np.zeros(labels.shape, dtype=np.uint8)
    struct = {
        "Boundaries": boundaries,
        "Segmentation": labels,
        "CategoriesPresent": present.astype(np.uint8)[:, None],
    }
    savemat(path, {"GTcls": struct}, do_compression=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_the_labels_of_the_struct_come_back(tmp_path: Path, dtype: type) -> None:
    write_sbd(tmp_path / "a.mat", LABELS.astype(dtype))
    labels = read_sbd_mask(tmp_path / "a.mat")
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, LABELS)


@pytest.mark.parametrize("below", ["", "dataset", "benchmark_RELEASE/dataset"])
def test_masks_are_found_as_the_archive_is_packed(tmp_path: Path, below: str) -> None:
    for name in ("2008_000002", "2007_000033"):
        write_sbd(tmp_path / below / "cls" / f"{name}.mat", LABELS)
    found = sbd_masks(tmp_path)
    assert list(found) == ["2007_000033", "2008_000002"]
    assert np.array_equal(read_sbd_mask(found["2008_000002"]), LABELS)


def test_a_folder_without_cls_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="folder cls"):
        sbd_masks(tmp_path)


def test_other_labels_are_refused(tmp_path: Path) -> None:
    write_sbd(tmp_path / "a.mat", LABELS + np.uint8(1))
    with pytest.raises(ValueError, match="labels 0 to 20, got 1 to 21"):
        read_sbd_mask(tmp_path / "a.mat")


def test_files_that_are_no_class_masks_are_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "inst.mat", {"GTinst": {"Segmentation": LABELS}})
    savemat(tmp_path / "deep.mat", {"GTcls": {"Segmentation": np.zeros((2, 2, 2))}})
    write_sbd(tmp_path / "cut.mat", LABELS)
    whole = (tmp_path / "cut.mat").read_bytes()
    (tmp_path / "cut.mat").write_bytes(whole[: len(whole) // 2])
    for name in ("inst", "deep", "cut", "gone"):
        with pytest.raises(ValueError, match=rf"{name}\.mat"):
            read_sbd_mask(tmp_path / f"{name}.mat")
