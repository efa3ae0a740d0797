"""The releases' vectors, and files of other sizes made by ourselves to try the verifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.parity.released_clip import write
from tests.parity.verify_dense_clip import Ours, verify

if TYPE_CHECKING:
    from tests.parity.released_clip import Arrays

torch.set_num_threads(1)

ORACLE = Path(__file__).parents[1] / "data" / "dense_clip_tiny.npz"


def test_every_array_of_the_releases_is_reproduced() -> None:
    rows = verify(ORACLE)
    assert len(rows) == 94
    assert [row for row in rows if not row.passed] == []
    ill_conditioned = {"excel/square/scores", "excel/square/label"}
    assert max(row.max_abs for row in rows if row.key not in ill_conditioned) < 1e-5


def test_files_of_other_sizes_are_read(tmp_path: Path) -> None:
    config, arrays = other_file()
    rows = verify(write(tmp_path / "other.npz", config, arrays))
    assert len(rows) > 30
    assert [row for row in rows if not row.passed] == []


def test_wrong_unknown_and_misshapen_arrays_fail(tmp_path: Path) -> None:
    config, arrays = other_file()
    arrays["sclip/wide/tokens"] = arrays["sclip/wide/tokens"] + np.float32(2e-4)
    arrays["gem/wide/default/tokens"] = arrays["gem/wide/default/tokens"][:1]
    arrays["sclip/window/prediction"] = 1 - arrays["sclip/window/prediction"]
    arrays["proxyclip/wide/tokens"] = np.zeros(3, dtype=np.float32)
    rows = verify(write(tmp_path / "wrong.npz", config, arrays))
    assert {row.key for row in rows if not row.passed} == {
        "sclip/wide/tokens", "gem/wide/default/tokens", "sclip/window/prediction",
        "proxyclip/wide/tokens",
    }  # fmt: skip


def test_parameters_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    config, arrays = other_file()
    del arrays["param/visual.proj"]
    with pytest.raises(ValueError, match="proj"):
        verify(write(tmp_path / "broken.npz", config, arrays))


def other_file() -> tuple[dict[str, Any], Arrays]:
    """The tower cut to 7 blocks, other images, windows and texts, with our own results."""
    with np.load(ORACLE, allow_pickle=False) as file:
        arrays: Arrays = dict(file)
    config = json.loads(str(arrays.pop("config"))) | {
        "layers": 7, "crop": 64, "stride": 48, "original": [40, 90], "query_class": [0, 1, 1, 2, 2],
    }  # fmt: skip
    kept = {
        key: value
        for key, value in arrays.items()
        if key.startswith(("param/", "excel/in/", "pamr/")) and ".resblocks.7." not in key
    }
    generator = torch.Generator().manual_seed(0)
    for name, size in {"wide": (64, 144), "square": (80, 80)}.items():
        kept[f"in/image_{name}"] = torch.randn(2, 3, *size, generator=generator).numpy()
    kept["in/text"] = arrays["in/text"][:5]
    kept["excel/in/text"] = arrays["excel/in/text"][:5]
    config["foreground"], config["excel_tags"] = 3, [0, 2]
    shapes = {"surgery/square/map0": (31, 44, 5), "excel/square/label": (50, 30)}
    unwanted = ("param/", "in/image", "in/text")
    wanted = [
        key
        for key in arrays
        if key not in kept and "/native/" not in key and not key.startswith(unwanted)
    ]
    for key in wanted:  # only the shape of some is looked at
        kept[key] = np.zeros(shapes.get(key, (3, 50, 30)), arrays[key].dtype)
    ours = Ours(config, kept)
    for key in wanted:
        value = ours.value(key)
        assert value is not None
        kept[key] = value.detach().numpy().astype(arrays[key].dtype)
    return config, kept
