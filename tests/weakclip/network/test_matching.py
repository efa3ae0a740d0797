from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weakclip.config import CoAttention, Cosine
from weakclip.network.build import build_matching
from weakclip.network.matching import (
    Attention,
    CoAttentionMatching,
    DecoderLayer,
    run_last,
    run_sequential,
    text_to_pixel_scores,
)

TEXT = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
GLOBAL = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
DENSE = torch.randn(2, 8, 4, 5, generator=torch.Generator().manual_seed(2))
SMALL = CoAttention(width=16, depth=3, dropout=0.0)


def gradient_names(matching: torch.nn.Module) -> set[str]:
    matched = matching(TEXT, GLOBAL, DENSE)
    torch.autograd.backward(matched.text.square().sum() + matched.dense.square().sum())
    return {
        name
        for name, parameter in matching.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
    }


def test_release_stacking_leaves_the_earlier_layers_without_gradient() -> None:
    matching = build_matching(CoAttention(width=16, depth=3, stacking="last"), 8)
    everything = {name for name, _ in matching.named_parameters()}
    dead = everything - gradient_names(matching)
    assert len(dead) == 80  # measured in the release
    assert all(".layers.0." in name or ".layers.1." in name for name in dead)


def test_sequential_stacking_trains_every_layer() -> None:
    matching = build_matching(SMALL, 8)
    assert gradient_names(matching) == {name for name, _ in matching.named_parameters()}


def test_the_last_of_the_release_ignores_what_came_before() -> None:
    layers = torch.nn.ModuleList(DecoderLayer(16, 4, 0.0) for _ in range(2))
    query, memory = torch.randn(1, 3, 16), torch.randn(1, 7, 16)
    torch.testing.assert_close(run_last(layers, query, memory), layers[1](query, memory))
    expected = layers[1](layers[0](query, memory), memory)
    torch.testing.assert_close(run_sequential(layers, query, memory), expected)


@pytest.mark.parametrize(("side", "other"), [("text", "image"), ("image", "text")])
def test_a_side_that_is_off_is_unchanged_and_has_no_weights(side: str, other: str) -> None:
    spec = CoAttention(width=16, sides=side)  # type: ignore[arg-type]
    matching = build_matching(spec, 8).eval()
    matched = matching(TEXT, GLOBAL, DENSE)
    kept = {"text": TEXT.expand(2, -1, -1), "image": DENSE}[other]
    changed = {"text": matched.text, "image": matched.dense}
    torch.testing.assert_close(changed[other], kept)
    assert not torch.allclose(changed[side], {"text": TEXT, "image": DENSE}[side])
    assert not any(f"{other}_update" in name for name, _ in matching.named_parameters())


def test_cosine_has_no_weights_and_touches_nothing() -> None:
    matching = build_matching(Cosine(), 8)
    matched = matching(TEXT, GLOBAL, DENSE)
    assert not list(matching.parameters())
    torch.testing.assert_close(matched.text, TEXT.expand(2, -1, -1))
    assert matched.dense is DENSE


def test_a_scale_of_zero_is_no_matching_at_all() -> None:
    matching = build_matching(CoAttention(width=16, initial_scale=0.0), 8)
    assert isinstance(matching, CoAttentionMatching)
    matched = matching(TEXT, GLOBAL, DENSE)
    torch.testing.assert_close(matched.text, TEXT.expand(2, -1, -1))
    torch.testing.assert_close(matched.dense, DENSE)


def test_attention_is_the_textbook_formula() -> None:
    attention = Attention(6, 2, 0.0)
    query, memory = torch.randn(1, 3, 6), torch.randn(1, 4, 6)

    def head(layer: torch.nn.Linear, tokens: Tensor, index: int) -> Tensor:
        return tokens @ layer.weight[3 * index : 3 * index + 3].T

    heads = [
        (
            head(attention.q_proj, query, index)
            @ head(attention.k_proj, memory, index).mT
            / math.sqrt(3)
        ).softmax(-1)
        @ head(attention.v_proj, memory, index)
        for index in range(2)
    ]
    torch.testing.assert_close(attention(query, memory), attention.proj(torch.cat(heads, -1)))


def test_scores_are_cosines() -> None:
    visual = torch.tensor([[[[3.0]], [[4.0]]]])
    text = torch.tensor([[[10.0, 0.0], [-0.3, -0.4]]])
    scores = text_to_pixel_scores(visual, text)
    torch.testing.assert_close(scores, torch.tensor([[[[0.6]], [[-1.0]]]]))


def test_scores_refuse_a_different_embedding_size() -> None:
    with pytest.raises(ValueError, match="expected the same B and E"):
        text_to_pixel_scores(torch.zeros(1, 8, 2, 2), torch.zeros(1, 3, 7))
    with pytest.raises(ValueError, match="visual: expected shape"):
        text_to_pixel_scores(torch.zeros(1, 8, 2), torch.zeros(1, 3, 8))
