"""Every published format of a CLIP gives open_clip's own numbers, or says what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import open_clip
import pytest
import torch
from open_clip.factory import _MODEL_CONFIGS
from safetensors.torch import save_file

from tests.weakclip.clip.conftest import (
    Small,
    transformers_tensors,
    write_archive,
    write_folder,
    write_transformers,
)
from weakclip.clip.load import load_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from open_clip.model import CLIP

    from weakclip.clip.bundle import CLIPBundle

TEXTS = ["a dog", "a photo of two cats."]
SMALL = (
    Small(patch=14, side=42, quick_gelu=True),
    Small(patch=16, side=64),
    Small(patch=32, side=64, quick_gelu=True),
    Small(patch=32, side=96),
)
NAME = "ViT-small-test"


def write_wrapped(path: Path, model: CLIP) -> None:
    """What open_clip's training writes: names of a data-parallel model, beside other state."""
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"lr": 1.0}}, path)


FILES: dict[str, Callable[[Path, CLIP], None]] = {
    "model.pt": write_wrapped,
    "model.bin": lambda path, model: torch.save(model.state_dict(), path),
    "model.safetensors": lambda path, model: save_file(model.state_dict(), path),
    "hf.safetensors": lambda path, model: save_file(transformers_tensors(model), path),
}


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Small], None]:
    """Makes open_clip know the small CLIP under `NAME` for one test."""
    return lambda small: monkeypatch.setitem(_MODEL_CONFIGS, NAME, small.config)


def check(bundle: CLIPBundle, model: CLIP, side: int) -> None:
    """Both towers give open_clip's own numbers at the native size."""
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model.encode_image(images), model.encode_text(bundle.tokenize(TEXTS))
        scale = float(model.logit_scale.exp())
    found = bundle.image(images).global_embedding, bundle.text.encode_tokens(bundle.tokenize(TEXTS))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert bundle.logit_scale == pytest.approx(scale)


@pytest.mark.parametrize("small", SMALL, ids=str)
@pytest.mark.parametrize("file", FILES)
def test_files_of_tensors_are_loaded(
    tmp_path: Path, register: Callable[[Small], None], small: Small, file: str
) -> None:
    register(small)
    model = small.build()
    FILES[file](tmp_path / file, model)
    bundle = load_clip(NAME, weights=tmp_path / file)
    check(bundle, model, small.side)
    assert (bundle.name, bundle.patch_size, bundle.image_size) == (NAME, small.patch, small.side)
    assert len(bundle.sha256) == 64
    odd = bundle.image(torch.zeros(1, 3, 2 * small.side, 3 * small.patch))
    assert odd.dense_embedding.shape[2:] == (2 * small.side // small.patch, 3)


@pytest.mark.parametrize("small", SMALL, ids=str)
def test_an_archive_says_its_activation_itself(
    tmp_path: Path, register: Callable[[Small], None], small: Small
) -> None:
    register(Small(small.patch, small.side, quick_gelu=not small.quick_gelu))
    model = small.build()
    write_archive(tmp_path / "clip.pt", model, small.side)
    check(load_clip(NAME, weights=tmp_path / "clip.pt"), model, small.side)


@pytest.mark.parametrize("small", SMALL, ids=str)
@pytest.mark.parametrize("write", [write_folder, write_transformers])
def test_folders_describe_themselves(
    tmp_path: Path, small: Small, write: Callable[[Path, Small, CLIP], None]
) -> None:
    model = small.build()
    write(tmp_path / "my-clip", small, model)
    bundle = load_clip(str(tmp_path / "my-clip"))
    check(bundle, model, small.side)
    assert bundle.name == "my-clip"
    expected = 255 * (0.5 if write is write_folder else 0.1)
    assert bundle.mean[0] == pytest.approx(expected)
    assert load_clip("ViT-B-16", weights=tmp_path / "my-clip").name == "ViT-B-16"


def test_the_activation_matters() -> None:
    images = torch.randn(1, 3, 64, 64)
    quick, exact = (Small(side=64, quick_gelu=each).build().eval() for each in (True, False))
    with torch.no_grad():
        difference = (quick.encode_image(images) - exact.encode_image(images)).abs().max()
    assert float(difference) > 1e-3


def test_weights_of_another_resolution_keep_their_positions(
    tmp_path: Path, register: Callable[[Small], None]
) -> None:
    register(Small(side=64))
    model = Small(side=96).build()
    save_file(model.state_dict(), tmp_path / "large.safetensors")
    bundle = load_clip(NAME, weights=tmp_path / "large.safetensors")
    assert bundle.image_size == 96
    check(bundle, model, 96)


def test_a_registered_model_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32", load_weights=False).eval()
    save_file(model.state_dict(), tmp_path / "b32.safetensors")
    bundle = load_clip("ViT-B-32", weights=tmp_path / "b32.safetensors")
    check(bundle, model, 224)
    assert bundle.tokenize(["a dog"]).equal(open_clip.get_tokenizer("ViT-B-32")(["a dog"]))


def test_a_tag_is_found_in_the_caches(
    tmp_path: Path, register: Callable[[Small], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Small(quick_gelu=True)
    register(Small())
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED,
        NAME,
        {
            "mine": {
                "url": "https://publisher.example/ab/clip.pt",
                "hf_hub": "somebody/clip/",
                "quick_gelu": True,
                "mean": (0.5, 0.5, 0.5),
                "std": (0.2, 0.2, 0.2),
            }
        },
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        load_clip(f"{NAME}/mine")
    for part in (
        "open_clip_model.safetensors of the Hugging Face repository somebody/clip",
        f"clip.pt of the model's publisher (kept in {tmp_path}",
        "--weights FILE",
        "nothing is downloaded",
    ):
        assert part in str(caught.value)
    model = small.build()
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    write_archive(tmp_path / ".cache" / "clip" / "clip.pt", model, small.side)
    bundle = load_clip(f"{NAME}/mine")
    check(bundle, model, small.side)
    assert bundle.mean == (127.5, 127.5, 127.5)
    hub = tmp_path / "model.safetensors"
    save_file(model.state_dict(), hub)
    monkeypatch.setattr(
        "weakclip.clip.checkpoint.try_to_load_from_cache",
        lambda repository, file: str(hub) if file == "open_clip_model.safetensors" else None,
    )
    assert load_clip(f"{NAME}/mine").sha256 != bundle.sha256
    write_archive(tmp_path / "other.pt", Small().build(), 48)
    with pytest.raises(ValueError, match=r"of ViT-small-test/mine, QuickGELU, got exact GELU"):
        load_clip(f"{NAME}/mine", weights=tmp_path / "other.pt")


def test_wrong_names_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"CLIP .*gone: no such folder"):
        load_clip(str(tmp_path / "gone"))
    with pytest.raises(ValueError, match=r"unknown CLIP 'ViT-B-61'; did you mean 'ViT-B-16'"):
        load_clip("ViT-B-61")
    with pytest.raises(ValueError, match="unknown tag 'opnai' of ViT-B-16; known: openai"):
        load_clip("ViT-B-16/opnai")
    with pytest.raises(FileNotFoundError, match=r"which weights\? name a tag \(ViT-B-16/openai"):
        load_clip("ViT-B-16")
    with pytest.raises(FileNotFoundError, match="no file"):
        load_clip("ViT-B-16", weights=tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError, match=r"expected open_clip_config.json or config.json"):
        load_clip("ViT-B-16", weights=tmp_path)


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16-SigLIP", "coca_ViT-B-32"])
def test_other_kinds_of_model_are_refused(tmp_path: Path, name: str) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="expected a plain ViT"):
        load_clip(name, weights=tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["RN50/openai", "RN50", "ViT-B-16-SigLIP/webli"])
def test_nobody_is_sent_for_weights_that_cannot_be_used(name: str) -> None:
    with pytest.raises(ValueError, match=f"CLIP {name}: .*expected a plain ViT"):
        load_clip(name)


def test_weights_that_do_not_fit_are_listed(
    tmp_path: Path, register: Callable[[Small], None]
) -> None:
    register(Small())
    state = Small().build().state_dict()
    state["visual.novelty"] = state.pop("visual.proj")
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(
        ValueError, match=r"missing \(1\): visual.proj; not used \(1\): visual.novelty"
    ):
        load_clip(NAME, weights=tmp_path / "x.safetensors")


def test_folders_without_weights_or_of_another_model_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "one", Small(), Small().build())
    (tmp_path / "one" / "open_clip_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="is there but no weights; put open_clip_model"):
        load_clip(str(tmp_path / "one"))
    write_transformers(tmp_path / "two", Small(), Small().build())
    config = tmp_path / "two" / "config.json"
    for change, message in (
        ({"model_type": "siglip"}, "expected model_type 'clip', got 'siglip'"),
        ({"model_type": "clip", "text_config": {"hidden_act": "gelu"}}, "expected hidden_act"),
    ):
        config.write_text(json.dumps(change))
        with pytest.raises(ValueError, match=message):
            load_clip(str(tmp_path / "two"))
    config.write_text("{")
    with pytest.raises(ValueError, match="not a readable JSON file"):
        load_clip(str(tmp_path / "two"))
