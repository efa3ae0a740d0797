from __future__ import annotations

import argparse
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from weakclip.clip.tensors import check_names, read_tensors, unwrap

if TYPE_CHECKING:
    from pathlib import Path


def test_a_training_log_beside_the_tensors_is_no_hindrance(tmp_path: Path) -> None:
    state = OrderedDict({"module.gamma": torch.arange(3.0), "beta": torch.ones(1)})
    meta = {
        "mmcv_version": "1.3.17",
        "iter": 8000,
        "CLASSES": ("background", "cat"),
        "PALETTE": np.array([[0, 0, 0], [128, 0, 0]]),
        "best": np.float64(74.03),
        "hook_msgs": {"seen": np.array([1, 2], dtype=np.uint8)},
    }
    path = tmp_path / "iter_8000.pth"
    torch.save({"meta": meta, "state_dict": state, "optimizer": {"param_groups": []}}, path)
    tensors = read_tensors(path)
    assert list(tensors) == ["gamma", "beta"]
    assert torch.equal(tensors["gamma"], torch.arange(3.0))


def test_numpy_of_both_generations_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"meta": np.arange(3), "state_dict": {}}, path, _use_new_zipfile_serialization=False)
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    content = path.read_bytes()
    assert new in content or old in content
    path.write_bytes(content.replace(new, old))
    assert read_tensors(path) == {}


def test_objects_that_could_run_code_are_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "config.pth"
    torch.save({"meta": argparse.Namespace(lr=1), "state_dict": {}}, path)
    with pytest.raises(ValueError, match=r"holds objects of argparse.Namespace.*keep only the ten"):
        read_tensors(path)


@pytest.mark.parametrize(
    "content", [b"", b"not weights", b"PK\x03\x04 half an archive", b"\x80\x02."]
)
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="not a readable") as caught:
        read_tensors(tmp_path / name)
    assert "weights_only" not in str(caught.value)  # torch's advice to run the file's code


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(read_tensors(tmp_path / "x.safetensors")["weight"], torch.ones(2))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file"):
        read_tensors(tmp_path / "none.pth")


def test_arrays_are_understood_and_other_things_refused() -> None:
    state = unwrap({"gamma": np.ones(2, dtype=np.float32)})
    torch.testing.assert_close(state["gamma"], torch.ones(2))
    with pytest.raises(ValueError, match="expected a tensor under 'gamma', got str"):
        unwrap({"gamma": "one"})
    with pytest.raises(ValueError, match="expected named tensors, got list"):
        unwrap({"state_dict": [1]})


def test_every_name_that_does_not_fit_is_told() -> None:
    found = {"a": torch.zeros(2), "b": torch.zeros(3), "extra": torch.zeros(1)}
    wanted = {"a": torch.zeros(2), "b": torch.zeros(4), "absent": torch.zeros(1)}
    with pytest.raises(ValueError, match="missing") as caught:
        check_names(found, wanted, source="file.pth")
    assert str(caught.value) == (
        "file.pth: does not fit the model; missing (1): absent; not used (1): extra; "
        "of another shape (1): b (3,), expected (4,)"
    )
