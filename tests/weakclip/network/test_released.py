from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.parity.release_names import their_name
from tests.weakclip.conftest import NAMES
from weakclip.clip.tensors import read_tensors
from weakclip.config import CoAttention, TextGuidedDecoder, WeakCLIPConfig
from weakclip.network import checkpoints
from weakclip.network.build import build_model
from weakclip.network.released import load_released, our_name

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle

TINY = WeakCLIPConfig(
    matching=CoAttention(width=16, depth=2),
    decoder=TextGuidedDecoder(channels=8),
    taps=(0, 1, 2, 3),
)


@pytest.fixture
def released(clip: CLIPBundle) -> dict[str, Tensor]:
    """A checkpoint of the release at tiny size."""
    state = build_model(TINY, clip, NAMES, seed=9).state_dict()
    return {their_name(name): tensor.clone() for name, tensor in state.items()}


def test_every_name_is_translated_there_and_back(clip: CLIPBundle) -> None:
    for name in build_model(TINY, clip, NAMES).state_dict():
        assert our_name(their_name(name)) == name
    assert our_name("auxiliary_head.conv.weight") is None
    assert checkpoints.load_released is load_released  # one door for both kinds of files


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_released_file_is_loaded(
    clip: CLIPBundle, released: dict[str, Tensor], tmp_path: Path, wrapped: bool
) -> None:
    path = tmp_path / "iter_20000.pth"
    named = {f"module.{name}": tensor for name, tensor in released.items()}
    torch.save({"state_dict": named, "meta": {"epoch": 1}} if wrapped else named, path)
    model = build_model(TINY, clip, NAMES, seed=10)
    load_released(model, read_tensors(path))
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, released[their_name(name)])


def test_position_embeddings_of_another_size_are_taken_over(
    clip: CLIPBundle, released: dict[str, Tensor], images: Tensor
) -> None:
    released["backbone.positional_embedding"] = torch.randn(1 + 6 * 6, 32)
    released["text_encoder.positional_embedding"] = torch.randn(13, 24)
    model = build_model(TINY, clip, NAMES).eval()
    load_released(model, released)
    assert model.text_tower.context_length == 13
    assert model.segment(images).shape == (2, 4, 32, 48)
    frozen = (*model.image_tower.parameters(), *model.text_tower.parameters())
    assert not any(parameter.requires_grad for parameter in frozen)


def test_what_does_not_fit_is_listed(clip: CLIPBundle, released: dict[str, Tensor]) -> None:
    released["auxiliary_head.conv.weight"] = released.pop("gamma")
    released["beta"] = torch.zeros(3)
    with pytest.raises(ValueError, match="released checkpoint: does not fit") as caught:
        load_released(build_model(TINY, clip, NAMES), released)
    message = str(caught.value)
    assert "missing (1): matching.text_update.scale" in message
    assert "not used (1): auxiliary_head.conv.weight" in message
    assert "matching.image_update.scale (3,), expected (16,)" in message
