from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from weakclip.clip.load import CLIP_NAMES, load_clip
from weakclip.clip.micro import (
    ASSETS,
    CONFIG_FILE,
    WEIGHTS_FILE,
    MicroConfig,
    build_micro,
    load_micro,
    normalise,
    save_micro,
)
from weakclip.clip.tokens import vocabulary_of

if TYPE_CHECKING:
    from pathlib import Path

TINY = MicroConfig(width=32, layers=2, head_width=16, text_width=32, text_heads=2, text_layers=1)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    vocabulary = vocabulary_of(["a dog"])
    model = build_micro(TINY, len(vocabulary))
    digest = save_micro(tmp_path, TINY, vocabulary, model)
    loaded, tokenize, found = load_micro(tmp_path)
    assert found == digest
    assert tokenize.vocabulary == vocabulary
    for name, tensor in loaded.state_dict().items():
        if name != "attn_mask":
            assert torch.equal(tensor, model.state_dict()[name].half().float()), name
    assert sorted(p.name for p in tmp_path.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    vocabulary = vocabulary_of(["a dog"])
    save_micro(tmp_path, TINY, vocabulary, build_micro(TINY, len(vocabulary)))
    content = bytearray((tmp_path / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"checksum .* expected .* got"):
        load_micro(tmp_path)


def test_missing_or_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nox -s pretrain"):
        load_micro(tmp_path)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copy(ASSETS / name, tmp_path / name)
    (tmp_path / CONFIG_FILE).write_text("{")
    with pytest.raises(ValueError, match="not readable"):
        load_micro(tmp_path)


def test_the_embedded_weights_are_what_their_configuration_says() -> None:
    bundle = load_clip("micro")
    meta = json.loads((ASSETS / CONFIG_FILE).read_text())
    assert bundle.sha256 == meta["sha256"]
    assert (ASSETS / WEIGHTS_FILE).stat().st_size <= 8 * 2**20
    features = bundle.image(normalise(torch.zeros(1, 128, 128, 3, dtype=torch.uint8)))
    assert features.dense_embedding.shape == (1, 128, 8, 8)


def test_random_weights_are_the_same_each_time() -> None:
    first, second = load_clip("random-micro"), load_clip("random-micro")
    assert first.sha256 == second.sha256 != load_clip("micro").sha256


def test_an_unknown_clip_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown CLIP 'micr'; did you mean 'micro'") as caught:
        load_clip("micr")
    assert all(name in str(caught.value) for name in CLIP_NAMES)
