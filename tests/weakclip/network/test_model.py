from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import nn

from tests.weakclip.conftest import NAMES, tokenize
from weakclip.clip.bundle import CLIPBundle
from weakclip.clip.text import TextTower
from weakclip.clip.tower import ImageTower
from weakclip.config import (
    PAPER,
    CoAttention,
    PyramidAdapter,
    Resample,
    TextGuidedDecoder,
    WeakCLIPConfig,
)
from weakclip.network.build import build_model

if TYPE_CHECKING:
    from torch import Tensor

TINY = WeakCLIPConfig(
    matching=CoAttention(width=16, depth=2),
    decoder=TextGuidedDecoder(channels=8),
    taps=(0, 1, 2, 3),
)


def count(module: nn.Module, *, trainable: bool = False) -> int:
    return sum(
        parameter.numel()
        for parameter in module.parameters()
        if parameter.requires_grad or not trainable
    )


def test_output_has_the_shapes_it_says(clip: CLIPBundle, images: Tensor) -> None:
    model = build_model(TINY, clip, NAMES)
    output = model(model.encode(images))
    assert output.score_map.shape == (2, 4, 4, 6)
    assert output.logits.shape == (2, 4, 16, 24)
    assert output.text_embeddings.shape == (4, 16)
    assert output.matched.text.shape == (2, 4, 16)
    assert model.segment(images).shape == (2, 4, 32, 48)
    assert output.score_map.abs().max() <= 1 + 1e-6


def test_text_can_be_computed_once(clip: CLIPBundle, images: Tensor) -> None:
    model = build_model(TINY, clip, NAMES).eval()
    with torch.no_grad():
        torch.testing.assert_close(model.segment(images, text=model.text()), model.segment(images))


def test_an_image_does_not_depend_on_its_neighbours(clip: CLIPBundle, images: Tensor) -> None:
    model = build_model(TINY, clip, NAMES).eval()
    with torch.no_grad():
        alone = torch.cat([model.segment(images[1:]), model.segment(images[:1])])
        torch.testing.assert_close(alone, model.segment(images.flip(0)), atol=1e-5, rtol=1e-4)


def test_every_component_learns_and_no_tower_does(clip: CLIPBundle, images: Tensor) -> None:
    model = build_model(TINY, clip, NAMES)
    torch.autograd.backward(model(model.encode(images)).logits.square().sum())
    for name, component in model.components.items():
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in component.parameters()), (
            name
        )
    assert all(p.grad is None for p in model.image_tower.parameters())
    assert all(p.grad is None for p in model.text_tower.parameters())


def test_trainable_parameters_exclude_a_frozen_adapter(clip: CLIPBundle) -> None:
    trained = build_model(TINY, clip, NAMES)
    frozen = build_model(replace(TINY, adapter=PyramidAdapter(training="frozen")), clip, NAMES)
    assert not [p for p in frozen.adapter.parameters() if p.requires_grad]
    missing = len(trained.trainable_parameters()) - len(frozen.trainable_parameters())
    assert missing == len(list(trained.adapter.parameters()))
    expected = sum(len(list(each.parameters())) for each in trained.components.values())
    assert len(trained.trainable_parameters()) == expected


def test_statistics_of_a_frozen_adapter_still_move(clip: CLIPBundle, images: Tensor) -> None:
    model = build_model(replace(TINY, adapter=PyramidAdapter(training="frozen")), clip, NAMES)
    before = model.adapter.get_buffer("level0.2.running_mean").clone()
    model(model.encode(images))
    assert not torch.equal(model.adapter.get_buffer("level0.2.running_mean"), before)


def test_switching_a_slot_off_keeps_shapes(clip: CLIPBundle, images: Tensor) -> None:
    full = build_model(TINY, clip, NAMES)
    off = build_model(replace(TINY, adapter=Resample()), clip, NAMES)
    features = full.encode(images)
    assert off(features).logits.shape == full(features).logits.shape
    assert count(off.decoder) == count(full.decoder)


def test_parameters_at_the_papers_size_are_the_measured_ones() -> None:
    # ViT-B/16 for crops of 512 pixels and prompts of 13 tokens, VOC; see the release's own counts.
    with torch.device("meta"):
        towers = CLIP(
            512,
            CLIPVisionCfg(layers=12, width=768, patch_size=16, image_size=512),
            CLIPTextCfg(context_length=13, vocab_size=49408, width=512, heads=8, layers=12),
        )
    clip = CLIPBundle(
        image=ImageTower(towers.visual),
        text=TextTower(towers),
        tokenize=tokenize,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        logit_scale=100.0,
        patch_size=16,
        image_size=512,
        name="ViT-B-16",
        sha256="",
    )
    model = build_model(PAPER, clip, [f"class {index}" for index in range(21)])
    scales = model.matching.get_parameter("text_update.scale").numel() * 2
    decoder = model.decoder
    millions = {
        "total": count(model),
        "image tower": count(model.image_tower),
        "text tower": count(model.text_tower),
        "adapter": count(model.adapter),
        "matching": count(model.matching) - scales,
        "neck": count(decoder.get_submodule("neck")),
        "head": count(decoder.get_submodule("head")),
    }
    assert {name: round(number / 1e6, 2) for name, number in millions.items()} == {
        "total": 171.46,
        "image tower": 86.83,
        "text tower": 63.40,
        "adapter": 7.09,
        "matching": 6.84,
        "neck": 3.17,
        "head": 4.14,
    }
    assert count(model.prompt) == 4096
    assert scales == 1024
    trained = sum(parameter.numel() for parameter in model.trainable_parameters())
    assert trained == count(model) - count(model.image_tower) - count(model.text_tower)


def test_fewer_than_two_classes_are_refused(clip: CLIPBundle) -> None:
    with pytest.raises(ValueError, match="expected background and at least one class"):
        build_model(TINY, clip, ["background"])
