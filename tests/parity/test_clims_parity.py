"""The release's vectors, and wrong ones to try the verifier."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.verify_clims import verify

torch.set_num_threads(1)

DATA = Path(__file__).parents[1] / "data"
ORACLE = DATA / "clims_tiny.npz"


def test_every_loss_and_gradient_of_the_release_is_reproduced() -> None:
    rows = verify(ORACLE)
    assert len(rows) == 10
    assert [row for row in rows if not row.passed] == []


def test_wrong_and_unknown_keys_fail_in_a_file_of_another_batch(tmp_path: Path) -> None:
    with np.load(ORACLE, allow_pickle=False) as file:
        arrays: dict[str, Any] = dict(file)
    for key in ("in/image", "in/cam", "in/label"):
        arrays[key] = arrays[key][:2]
    arrays["out/novelty"] = np.zeros(3, dtype=np.float32)
    arrays["loss/REG"] = arrays["in/cam"].mean()
    shutil.copy(DATA / "clip_es_tiny.npz", tmp_path)
    np.savez(tmp_path / "wrong.npz", **arrays)
    rows = verify(tmp_path / "wrong.npz")
    assert {row.key for row in rows if row.passed} == {"loss/REG"}


def test_the_clip_of_another_file_must_be_beside_it(tmp_path: Path) -> None:
    shutil.copy(ORACLE, tmp_path)
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / ORACLE.name)


def test_the_config_names_what_is_needed() -> None:
    with np.load(ORACLE, allow_pickle=False) as file:
        config = json.loads(str(file["config"]))
    assert {"clip", "clip_input_size", "class_names", "template", "cbs_threshold"} <= set(config)
