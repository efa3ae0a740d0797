"""The release's vectors, and a file of another size made by ourselves to try the verifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.parity.released_clip import write
from tests.parity.verify_clip_es import evaluate, verify

if TYPE_CHECKING:
    from tests.parity.released_clip import Arrays

torch.set_num_threads(1)

ORACLE = Path(__file__).parents[1] / "data" / "clip_es_tiny.npz"


def test_every_stage_of_the_release_is_reproduced() -> None:
    rows = verify(ORACLE)
    assert len(rows) == 27
    assert [row for row in rows if not row.passed] == []
    assert max(row.max_abs for row in rows) < 5e-5


def test_files_of_other_sizes_and_numbers_of_cases_are_read(tmp_path: Path) -> None:
    config, arrays = other_file()
    rows = verify(write(tmp_path / "other.npz", config, arrays))
    assert {row.key for row in rows} == {
        key
        for key in arrays
        if not key.startswith("param/") and not key.endswith(("/image", "/labels"))
    }
    assert len(rows) == 3 + 8
    assert all(row.passed for row in rows)


def test_wrong_and_unknown_keys_fail(tmp_path: Path) -> None:
    config, arrays = other_file()
    arrays["case7/cam"] = arrays["case7/cam"] + np.float32(2e-4)
    arrays["case7/refined"] = arrays["case7/refined"][:1]
    arrays["case7/novelty"] = np.zeros(3, dtype=np.float32)
    rows = verify(write(tmp_path / "wrong.npz", config, arrays))
    failed = {row.key for row in rows if not row.passed}
    assert failed == {"case7/cam", "case7/refined", "case7/novelty"}


def test_parameters_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    config, arrays = other_file()
    del arrays["param/visual.proj"]
    with pytest.raises(ValueError, match=r"visual\.proj"):
        verify(write(tmp_path / "broken.npz", config, arrays))


def other_file() -> tuple[dict[str, Any], Arrays]:
    """The release's CLIP cut to 9 blocks, with one case, other classes and our own results."""
    with np.load(ORACLE, allow_pickle=False) as file:
        arrays: Arrays = dict(file)
    config = json.loads(str(arrays.pop("config"))) | {
        "vision_layers": 9,
        "class_names": ["cat", "red bus", "dog"],
        "background": ["sky"],
        "template": "a photo of a {}.",
    }
    kept = {
        key: value
        for key, value in arrays.items()
        if key.startswith("param/") and ".resblocks.9." not in key
    }
    generator = torch.Generator().manual_seed(0)
    kept["case7/image"] = torch.randn(1, 3, 64, 112, generator=generator).numpy()
    kept["case7/labels"] = np.array([2, 0])
    shapes = {"cam_highres": (2, 60, 101), "refined_highres": (2, 60, 101)}
    kept |= {f"case7/{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    ours = {key: value.detach().numpy() for key, value in evaluate(config, kept).items()}
    return config, kept | ours
