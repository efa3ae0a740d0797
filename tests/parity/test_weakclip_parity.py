"""The release's vectors, and files of other sizes made by ourselves to try the verifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from tests.parity.release_names import their_name
from tests.parity.verify_weakclip import build_reference_model, evaluate, verify
from weakclip.clip.bundle import CLIPBundle
from weakclip.clip.tensors import read_tensors
from weakclip.config import CoAttention, LearnableContext, TextGuidedDecoder, WeakCLIPConfig
from weakclip.network.build import build_model
from weakclip.network.released import load_released

torch.set_num_threads(1)

ORACLE = Path(__file__).parents[1] / "data" / "weakclip_tiny_a.npz"
OTHER_SIZES: dict[str, Any] = {
    "width": 64,
    "layers": 5,
    "heads": 2,
    "outd": 24,
    "res": 48,
    "tw": 40,
    "tl": 1,
    "th": 2,
    "K": 3,
    "fpn": 8,
    "cd": 16,
    "out_indices": [0, 2, 3, 4],
    "feature_size": [12, 20],
    "class_names": ["background", "cat", "dog"],
    "slide_crop": 48,
    "slide_stride": 31,
    "slide_rescale_to": [70, 55],
    "image_mean": [120.0, 115.0, 100.0],
    "image_std": [60.0, 61.0, 62.0],
    "tau": 0.1,
    "identity_weight": 0.7,
}


def test_every_vector_of_the_release_is_reproduced() -> None:
    rows = verify(ORACLE)
    assert len(rows) == 32
    assert [row for row in rows if not row.passed] == []
    assert max(row.max_rel for row in rows) < 1e-4  # far inside the tolerance of the CRF terms too


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_released_checkpoint_file_gives_the_outputs_of_the_release(
    tmp_path: Path, wrapped: bool
) -> None:
    """From a `.pth` as mmcv writes it, with a log and names of a data-parallel model."""
    with np.load(ORACLE) as file:
        arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    prefix = "module." * wrapped
    state = {
        prefix + name.removeprefix("param/"): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith("param/")
    }
    meta = {"iter": 8000, "CLASSES": tuple(config["class_names"]), "PALETTE": np.zeros((3, 3))}
    path = tmp_path / "train_74p03_iter_8000.pth"
    torch.save({"meta": meta, "state_dict": state, "optimizer": {}} if wrapped else state, path)
    blank = {key: np.zeros_like(array) for key, array in arrays.items() if key.startswith("param/")}
    model = build_reference_model(config, arrays | blank)
    load_released(model, read_tensors(path))
    ours = evaluate(model, config, arrays)
    for key, array in arrays.items():
        if key.startswith("out/"):
            error = np.abs(ours[key].detach().numpy() - array).max()
            assert error <= 1e-4 * np.abs(array).max(), key


def test_files_of_other_sizes_are_read(tmp_path: Path) -> None:
    arrays = other_file()
    path = tmp_path / "other.npz"
    write(path, arrays)
    rows = verify(path)
    compared = {key for key in arrays if not key.startswith(("param/", "in/"))}
    assert {row.key for row in rows} == compared
    assert all(row.passed for row in rows)


def test_wrong_and_unknown_keys_fail(tmp_path: Path) -> None:
    arrays = other_file()
    arrays["out/score_map"] = arrays["out/score_map"] * 1.001
    arrays["out/text_embedding_prompted"] = arrays["out/text_embedding_prompted"][0]
    arrays["out/novelty"] = np.zeros(3, dtype=np.float32)
    arrays["grad/backbone.fpn9.weight"] = np.zeros(3, dtype=np.float32)
    path = tmp_path / "wrong.npz"
    write(path, arrays)
    assert {row.key for row in verify(path) if not row.passed} == {
        "out/score_map",
        "out/text_embedding_prompted",
        "out/novelty",
        "grad/backbone.fpn9.weight",
    }


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_parameters_that_do_not_fit_are_an_error(tmp_path: Path, change: str) -> None:
    arrays = other_file()
    if change == "missing":
        del arrays["param/gamma"]
    else:
        arrays["param/decode_head.novelty"] = np.zeros(1)
    path = tmp_path / "broken.npz"
    write(path, arrays)
    with pytest.raises(ValueError, match=r"missing \(1\)|not used \(1\)"):
        verify(path)


def write(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    contents: dict[str, Any] = {"config": json.dumps(OTHER_SIZES), **arrays}
    np.savez(path, **contents)


def other_file() -> dict[str, np.ndarray[Any, Any]]:
    """A file of `OTHER_SIZES` with our own results: odd patch grids, two co-attention layers."""
    config = OTHER_SIZES
    torch.manual_seed(0)
    clip = CLIP(
        config["outd"],
        CLIPVisionCfg(layers=5, width=64, head_width=32, patch_size=8, image_size=48),
        CLIPTextCfg(context_length=9, vocab_size=60, width=40, heads=2, layers=1),
        quick_gelu=True,
    )
    ids = torch.tensor([[58, 3, 59, 0], [58, 7, 8, 59], [58, 9, 59, 0]])
    bundle = CLIPBundle.from_open_clip(
        clip, lambda _: ids, mean=(0, 0, 0), std=(1, 1, 1), name="", sha256=""
    )
    spec = WeakCLIPConfig(
        prompt=LearnableContext(length=5),
        matching=CoAttention(width=config["cd"], depth=2),
        decoder=TextGuidedDecoder(channels=config["fpn"]),
        taps=(0, 2, 3, 4),
    )
    state = build_model(spec, bundle, config["class_names"]).state_dict()
    arrays = {f"param/{their_name(name)}": tensor.numpy() for name, tensor in state.items()}
    arrays["in/image"] = torch.randn(2, 3, 44, 60).numpy()
    arrays["in/slide_image"] = torch.randn(1, 3, 50, 101).numpy()
    arrays["in/label"] = torch.randint(0, 3, (2, 1, 44, 60)).numpy()
    arrays["in/token_ids"] = ids.numpy()
    asked = ("contexts", "beta", "backbone.fpn2.1.weight", "neck.fpn_convs.1.conv.weight")
    arrays |= {f"grad/{name}": arrays[f"param/{name}"] for name in asked}
    ours = evaluate(build_reference_model(config, arrays), config, arrays)
    return arrays | {key: tensor.detach().numpy() for key, tensor in ours.items()}
