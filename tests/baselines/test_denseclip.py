from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from baselines.denseclip import DENSECLIP, DENSECLIP_MICRO, denseclip
from weakclip.clip.load import load_clip
from weakclip.config import MICRO, PAPER, CoAttention, Cosine, TextGuidedDecoder, WeakCLIPConfig
from weakclip.network.build import build_model

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("baseline", "base"), [(DENSECLIP, PAPER), (DENSECLIP_MICRO, MICRO)])
def test_differs_from_weakclip_in_three_slots(
    baseline: WeakCLIPConfig, base: WeakCLIPConfig
) -> None:
    changed = {
        field.name
        for field in fields(base)
        if getattr(baseline, field.name) != getattr(base, field.name)
    }
    assert changed == {"matching", "decoder", "supervision"}
    assert isinstance(baseline.matching, CoAttention)
    assert isinstance(baseline.decoder, TextGuidedDecoder)
    assert baseline.matching.sides == "text"
    assert baseline.decoder.levels == (2,)


def test_only_the_text_looks_at_the_image_and_hardly_at_first() -> None:
    clip = load_clip("random-micro")
    model = build_model(DENSECLIP_MICRO, clip, ("background", "dog", "cat"), seed=0).eval()
    features = model.encode(IMAGES)
    with torch.no_grad():
        output = model(features)
    assert torch.equal(output.matched.dense, features.dense_embedding)
    change = output.matched.text - output.text_embeddings
    assert 0 < float(change.abs().max()) < 1e-2


def test_needs_a_weakclip_with_both_components() -> None:
    with pytest.raises(ValueError, match="got Cosine and TextGuidedDecoder; start from PAPER"):
        denseclip(replace(PAPER, matching=Cosine()))
