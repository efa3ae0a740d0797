"""The release's vectors, and a file of other sizes made by ourselves to try the verifier."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from baselines.weclip.network import Decoder, DecoderSize
from tests.parity.released_clip import write
from tests.parity.released_weclip import their_name
from tests.parity.verify_weclip import evaluate, verify

if TYPE_CHECKING:
    from tests.parity.released_clip import Arrays

torch.set_num_threads(1)

ORACLE = Path(__file__).parents[1] / "data" / "weclip_tiny.npz"


def test_every_stage_of_the_release_is_reproduced() -> None:
    rows = verify(ORACLE)
    assert len(rows) == 74
    assert [row for row in rows if not row.passed] == []
    exact = {"rfm/label", "case0/val/label", "case1/val/label", "test/prediction"}
    assert {row.key for row in rows if row.max_abs == 0} >= exact


def test_files_of_other_sizes_are_read(tmp_path: Path) -> None:
    config, arrays = other_file()
    rows = verify(write(tmp_path / "other.npz", config, arrays))
    assert len(rows) > 80  # every gradient is compared
    assert all(row.passed for row in rows)


def test_wrong_and_unknown_keys_fail(tmp_path: Path) -> None:
    config, arrays = other_file()
    arrays["out/affinity"] = arrays["out/affinity"] + np.float32(2e-4)
    arrays["case0/rfm/difference"] = arrays["case0/rfm/difference"] * 1.001
    arrays["rfm/label"] = arrays["rfm/label"][:, 1:]
    arrays["test/segs"] = arrays["test/segs"][:, :-1]
    arrays["case0/novelty"] = np.zeros(3, dtype=np.float32)
    arrays["grad/decoder.novelty"] = np.zeros(3, dtype=np.float32)
    failed = {row.key for row in verify(write(tmp_path / "wrong.npz", config, arrays))
              if not row.passed}  # fmt: skip
    assert {"out/affinity", "case0/rfm/difference", "rfm/label", "test/segs"} <= failed
    assert {"case0/novelty", "grad/decoder.novelty"} <= failed
    assert "case0/refined" not in failed


@pytest.mark.parametrize("name", ["decoder.linear_pred.bias", "encoder.visual.proj"])
def test_parameters_that_do_not_fit_are_an_error(tmp_path: Path, name: str) -> None:
    config, arrays = other_file()
    del arrays[f"param/{name}"]
    with pytest.raises(ValueError, match=name.removeprefix("encoder.")):
        verify(write(tmp_path / "broken.npz", config, arrays))


def other_file() -> tuple[dict[str, Any], Arrays]:
    """A file that a test may change."""
    config, arrays = made()
    return dict(config), dict(arrays)


@cache
def made() -> tuple[dict[str, Any], Arrays]:
    """The release's tower cut to 5 blocks, with another decoder, three classes, one image."""
    with np.load(ORACLE, allow_pickle=False) as file:
        arrays: Arrays = dict(file)
    config = json.loads(str(arrays["config"]))
    for absent in ("coco", "optimiser"):
        del config[absent]
    config |= {
        "layers": 5, "static_blocks": 4, "rfm_blocks": 3, "box_threshold": 0.5, "radius": 1,
        "decoder_layers": 2, "decoder_heads": 4, "original": [[50, 71]], "resize_long": 64,
        "test_scales": [1, 1.5], "par": {"iterations": 3, "dilations": [1, 3]},
        "loss_weights": {"segmentation": 1, "affinity": 0.3},
    }  # fmt: skip
    kept = {
        key: value
        for key, value in arrays.items()
        if key.startswith("param/encoder")
        and not any(f"resblocks.{n}." in key for n in range(5, 12))
    }
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    size = DecoderSize(channels=16, heads=4, blocks=2)
    state = Decoder(size, width=48, inputs=4, labels=4).state_dict()
    kept |= {f"param/{their_name(name)}": value.numpy() for name, value in state.items()}
    kept |= {
        "in/image": torch.randn(1, 3, 64, 80, generator=generator).numpy(),
        "in/tags": np.array([[1, 0, 1]]),
        "in/text_fg": arrays["in/text_fg"][:3],
        "in/text_bg": arrays["in/text_bg"][:2],
        "in/label_with_ignore": np.full((1, 64, 80), 255),
        "rfm/label": torch.randint(0, 4, (1, 64, 80), generator=generator).numpy(),
        "test/image": torch.randn(1, 3, 40, 61, generator=generator).numpy(),
        "test/prediction": np.zeros((30, 47), dtype=np.uint8),
    }
    kept["rfm/label"] = evaluate(config, kept)["rfm/label"].numpy()
    ours = {key: value.detach().numpy() for key, value in evaluate(config, kept).items()}
    return config, kept | ours
