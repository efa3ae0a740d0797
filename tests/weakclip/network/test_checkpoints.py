from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.weakclip.conftest import NAMES
from weakclip.config import (
    MICRO,
    PAPER,
    RELEASE,
    CoAttention,
    Cosine,
    CrossEntropy,
    FixedTemplate,
    PyramidAdapter,
    ScoreMapDecoder,
    SingleScale,
    TextGuidedDecoder,
    WeakCLIPConfig,
)
from weakclip.network.build import build_model
from weakclip.network.checkpoints import (
    ModelCard,
    config_id,
    describe,
    from_description,
    load_components,
    read_card,
    save_components,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle

TINY = WeakCLIPConfig(
    adapter=PyramidAdapter(training="frozen"),
    matching=CoAttention(width=16),
    decoder=TextGuidedDecoder(channels=8),
    taps=(0, 1, 2, 3),
)


def test_a_saved_model_comes_back_without_the_frozen_towers(
    clip: CLIPBundle, images: Tensor, tmp_path: Path
) -> None:
    model = build_model(TINY, clip, NAMES, seed=1)
    model(model.encode(images))  # moves the BatchNorm statistics of the frozen adapter
    card = ModelCard.of(TINY, NAMES, clip)
    path = tmp_path / "runs" / "model.safetensors"
    save_components(path, model, card)
    assert {name.split(".")[0] for name in load_file(path)} == {
        "prompt",
        "adapter",
        "matching",
        "decoder",
    }
    assert [each.name for each in path.parent.iterdir()] == ["model.safetensors"]
    assert read_card(path) == card
    other = build_model(card.config, clip, card.class_names, seed=2)
    load_components(path, other, card)
    with torch.no_grad():
        torch.testing.assert_close(other.eval().segment(images), model.eval().segment(images))


def test_a_model_of_another_kind_is_refused(clip: CLIPBundle, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_components(path, build_model(TINY, clip, NAMES), ModelCard.of(TINY, NAMES, clip))
    config = replace(TINY, matching=Cosine())
    with pytest.raises(ValueError, match="saved for another config"):
        load_components(path, build_model(config, clip, NAMES), ModelCard.of(config, NAMES, clip))
    card = ModelCard.of(TINY, ("background", "cat", "dog", "car"), clip)
    with pytest.raises(ValueError, match="saved for another class_names"):
        load_components(path, build_model(TINY, clip, card.class_names), card)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="train a model first"):
        read_card(path)
    path.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        read_card(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="expected format 'weakclip-components-1', got None"):
        read_card(path)


def test_nothing_is_left_behind_when_writing_fails(
    clip: CLIPBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("weakclip.network.checkpoints.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_components(
            tmp_path / "model", build_model(TINY, clip, NAMES), ModelCard.of(TINY, NAMES, clip)
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "config",
    [
        PAPER,
        RELEASE,
        MICRO,
        WeakCLIPConfig(
            prompt=FixedTemplate(),
            adapter=SingleScale(),
            decoder=ScoreMapDecoder(),
            supervision=CrossEntropy(),
        ),
    ],
)
def test_a_description_gives_the_config_back(config: WeakCLIPConfig) -> None:
    assert from_description(describe(config)) == config


def test_ids_tell_kinds_with_equal_fields_apart() -> None:
    ids = {config_id(config) for config in (PAPER, RELEASE, MICRO, replace(PAPER, tau=0.1))}
    assert len(ids) == 4
    assert all(len(each) == 12 for each in ids)


def test_descriptions_of_a_newer_version_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kind 'Cosine' with .'sharpness'. is unknown"):
        from_description({"kind": "Cosine", "sharpness": 2})
    with pytest.raises(ValueError, match="kind 'Sine'"):
        from_description({"kind": "Sine"})
