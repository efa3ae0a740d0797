from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest
import torch

from tests.weakclip.conftest import NAMES
from weakclip.config import (
    CoAttention,
    Cosine,
    FixedTemplate,
    LearnableContext,
    PlainDecoder,
    PyramidAdapter,
    Resample,
    ScoreMapDecoder,
    SingleScale,
    TemplateEnsemble,
    TextGuidedDecoder,
    WeakCLIPConfig,
)
from weakclip.network.build import build_adapter, build_decoder, build_model, build_prompt

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.config import AdapterSlot, DecoderSlot, MatchingSlot, PromptSlot

PROMPTS = (
    LearnableContext(length=3),
    LearnableContext(length=0),
    LearnableContext(length=2, class_specific=True),
    FixedTemplate(),
    TemplateEnsemble(),
)
ADAPTERS = (PyramidAdapter(), Resample(), SingleScale())
MATCHINGS = (
    CoAttention(width=16),
    CoAttention(width=16, sides="text", stacking="last", depth=1),
    Cosine(),
)
DECODERS = (
    TextGuidedDecoder(channels=8),
    TextGuidedDecoder(channels=8, levels=(2,)),
    PlainDecoder(channels=8),
    ScoreMapDecoder(),
)
TINY = WeakCLIPConfig(
    prompt=PROMPTS[0], matching=MATCHINGS[0], decoder=DECODERS[0], taps=(0, 1, 2, 3)
)


@pytest.mark.parametrize(
    ("adapter", "matching", "decoder"), list(product(ADAPTERS, MATCHINGS, DECODERS))
)
def test_any_kinds_fit_together(
    clip: CLIPBundle,
    images: Tensor,
    adapter: AdapterSlot,
    matching: MatchingSlot,
    decoder: DecoderSlot,
) -> None:
    config = replace(TINY, adapter=adapter, matching=matching, decoder=decoder)
    model = build_model(config, clip, NAMES)
    output = model(model.encode(images))
    side = 1 if isinstance(adapter, SingleScale) else 4
    assert output.logits.shape == (2, 4, 4 * side, 6 * side)
    assert torch.isfinite(output.logits).all()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_any_prompt_fits(clip: CLIPBundle, images: Tensor, prompt: PromptSlot) -> None:
    model = build_model(replace(TINY, prompt=prompt), clip, NAMES)
    assert model.text().shape == (4, 16)
    assert model(model.encode(images)).text_embeddings.shape == (4, 16)


def test_off_kinds_have_no_weights(clip: CLIPBundle) -> None:
    modules = (
        build_prompt(FixedTemplate(), clip, NAMES),
        build_prompt(TemplateEnsemble(), clip, NAMES),
        build_adapter(Resample(), 32),
        build_adapter(SingleScale(), 32),
        build_decoder(ScoreMapDecoder(), 32, 4, 0.07),
    )
    assert [list(module.parameters()) for module in modules] == [[]] * 5


def test_variants_share_the_initial_weights_of_what_they_share(clip: CLIPBundle) -> None:
    full = build_model(TINY, clip, NAMES, seed=5)
    other = build_model(
        replace(TINY, prompt=FixedTemplate(), adapter=Resample()), clip, NAMES, seed=5
    )
    for slot in ("matching", "decoder"):
        pairs = zip(
            full.components[slot].parameters(), other.components[slot].parameters(), strict=True
        )
        assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


def test_seeds_differ_and_the_global_random_state_is_untouched(clip: CLIPBundle) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one, two = build_model(TINY, clip, NAMES, seed=1), build_model(TINY, clip, NAMES, seed=2)
    torch.testing.assert_close(torch.rand(3), expected)
    for slot in ("prompt", "matching", "decoder", "adapter"):
        mine, theirs = (
            torch.cat([p.flatten() for p in model.components[slot].parameters()])
            for model in (one, two)
        )
        assert not torch.equal(mine, theirs)


def test_options_of_the_frozen_tower_come_from_the_config(clip: CLIPBundle) -> None:
    config = replace(TINY, class_token="release", drop_path=0.3, taps=(0, 0, 2, 3))
    tower = build_model(config, clip, NAMES).image_tower
    assert (tower.class_token, tower.taps) == ("release", (0, 0, 2, 3))
    assert tower.drop_rates == pytest.approx((0, 0.1, 0.2, 0.3))
    assert tower.vision is clip.image.vision
