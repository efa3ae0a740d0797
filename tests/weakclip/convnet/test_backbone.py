from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import timm
import torch
from torch import nn

from weakclip.convnet.backbone import MICRO_BACKBONE, Backbone, Stages
from weakclip.ops.parameters import count_parameters

if TYPE_CHECKING:
    from pathlib import Path

TINY = replace(MICRO_BACKBONE, weights=None, channels=(8, 8, 16, 16))
IMAGES = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))


def test_stages_have_the_strides_and_widths_they_claim() -> None:
    stages = Stages(TINY).eval()
    outputs = stages(IMAGES)
    assert len(outputs) == len(stages.widths) == len(stages.strides) == 5
    for output, width, stride in zip(outputs, stages.widths, stages.strides, strict=True):
        assert output.shape == (2, width, 64 // stride, 48 // stride)
    assert stages.strides[-1] == 8


@pytest.mark.parametrize("stage", [-1, -2, -5])
def test_the_rest_of_the_network_completes_a_stage(stage: int) -> None:
    stages = Stages(TINY).eval()
    outputs = stages(IMAGES)
    assert torch.equal(stages.rest(outputs[stage], stage), outputs[-1])


def weights_file(folder: Path, name: str) -> str:
    path = folder / "weights.pth"
    torch.save(timm.create_model(name, num_classes=7).state_dict(), path)
    return str(path)


def test_weights_of_a_whole_timm_network_are_read_and_frozen_stages_stay(tmp_path: Path) -> None:
    path = weights_file(tmp_path, "test_resnet")
    stages = Stages(Backbone(name="test_resnet", stride=16, weights=path)).train()
    expected = torch.load(path)
    state = stages.state_dict()
    assert torch.equal(state["parts.0.0.0.weight"], expected["conv1.0.weight"])
    frozen = [p for part in list(stages.parts)[:3] for p in part.parameters()]
    assert frozen
    assert not any(p.requires_grad for p in frozen)
    assert all(p.requires_grad for part in list(stages.parts)[3:] for p in part.parameters())
    before = {name: value.clone() for name, value in state.items() if "running" in name}
    stages(IMAGES)
    assert all(torch.equal(stages.state_dict()[name], value) for name, value in before.items())


def test_statistics_that_are_trained_move() -> None:
    stages = Stages(TINY).train()
    norm = next(layer for layer in stages.modules() if isinstance(layer, nn.BatchNorm2d))
    stages(IMAGES)
    assert norm.running_mean is not None
    assert float(norm.running_mean.abs().max()) > 0


def test_missing_or_foreign_weights_say_which_file_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors is missing; save"):
        Stages(Backbone(weights=str(tmp_path / "nowhere.safetensors")))
    path = weights_file(tmp_path, "test_resnet")
    with pytest.raises(ValueError, match="holds weights of another network"):
        Stages(Backbone(name="resnet18", stride=16, weights=path))


def test_impossible_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="random weights must be trained"):
        Backbone(weights=None)
    with pytest.raises(ValueError, match="expected a timm network with stages"):
        Stages(replace(TINY, name="no-such-network"))


def test_counts_of_parameters() -> None:
    linear = nn.Linear(3, 2)
    linear.bias.requires_grad = False
    assert count_parameters({"head": linear}) == {"head": {"total": 8, "trainable": 6}}
