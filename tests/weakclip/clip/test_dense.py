"""Changed last blocks against loops over heads and tokens, and against what must not change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip import dense
from weakclip.clip.dense import (
    VALUE_PATH,
    Attention,
    ChangedBlocks,
    OwnValue,
    SelfSelf,
    Similarity,
    Window,
    dense_tokens,
    gaussian_window,
)
from weakclip.clip.tower import ImageTower

if TYPE_CHECKING:
    from torch import Tensor

    from tests.weakclip.conftest import ClipFactory

HEADS, WIDTH = 4, 8  # of the tower in tests/weakclip/conftest.py
SCLIP = Similarity(pairs=("qq", "kk"), combine="sum")
KINDS: dict[str, Attention] = {
    "own value": OwnValue(),
    "clip": Similarity(),
    "sum": SCLIP,
    "mean": Similarity(pairs=("qq", "kk", "vv")),
    "all heads": Similarity(pairs=("qq", "vv"), heads="sum"),
    "near": Similarity(pairs=("kk",), window=1.5),
    "window": Window(std=2.0),
    "self": SelfSelf(),
    "self twice": SelfSelf(iterations=2, temperature=3.0),
}


@pytest.fixture
def tower(make_open_clip: ClipFactory) -> ImageTower:
    return ImageTower(make_open_clip().visual)


def output(tower: ImageTower, images: Tensor, attention: Attention) -> Tensor:
    """Output of the last block's attention alone."""
    change = ChangedBlocks(attention=attention, residual="removed", feed_forward="removed")
    return dense_tokens(tower, tower.forward_tokens(images), change)


def slowly(tower: ImageTower, images: Tensor, attention: Attention) -> Tensor:
    """The same, one head and token after the other."""
    block = tower.vision.transformer.resblocks[-1]
    trace = tower.forward_tokens(images)
    normed = block.ln_1(trace.tokens[-2])
    projected = normed @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    heads = projected.unflatten(-1, (3, HEADS, WIDTH))  # (B, N, 3, heads, d)
    rows, columns = trace.grid
    places = [(row, column) for row in range(rows) for column in range(columns)]
    mixed = torch.zeros_like(heads[:, :, 0])
    for image in range(len(images)):
        q, k, v = ([heads[image, :, part, head] for head in range(HEADS)] for part in range(3))
        named = {"q": q, "k": k, "v": v}
        weights = [torch.zeros(len(normed[0]), len(normed[0])) for _ in range(HEADS)]

        def nearness(first: int, second: int, std: float) -> float:
            if first == 0 or second == 0:
                return 0.0
            (y, x), (other_y, other_x) = places[first - 1], places[second - 1]
            return float(
                torch.exp(torch.tensor(-((y - other_y) ** 2 + (x - other_x) ** 2) / (2 * std**2)))
            )

        for head in range(HEADS):
            for token in range(len(normed[0])):
                tokens = range(len(normed[0]))
                if isinstance(attention, OwnValue):
                    weights[head][token, token] = 1
                if isinstance(attention, Window):
                    mean = torch.stack(
                        [q[each].norm(dim=1).mean() * k[each].norm(dim=1).mean()
                         for each in range(HEADS)]
                    ).mean() / WIDTH**0.5  # fmt: skip
                    near = torch.tensor([nearness(token, other, attention.std) for other in tokens])
                    weights[head][token] = (mean * near).softmax(dim=0)
                if isinstance(attention, Similarity):
                    near = torch.zeros(len(normed[0]))
                    if attention.window is not None:
                        std = attention.window
                        near = torch.tensor([nearness(token, other, std) for other in tokens])
                    softmaxes = [
                        (named[left][head][token] @ named[right][head].T / WIDTH**0.5 + near)
                        .softmax(dim=0)
                        for left, right in attention.pairs
                    ]  # fmt: skip
                    total = torch.stack(softmaxes)
                    weights[head][token] = (
                        total.sum(dim=0) if attention.combine == "sum" else total.mean(dim=0)
                    )
        if isinstance(attention, Similarity) and attention.heads == "sum":
            weights = [sum(weights, torch.zeros(())) for _ in range(HEADS)]
        for head in range(HEADS):
            if isinstance(attention, SelfSelf):
                scale = attention.temperature or normed[image].norm(dim=1).mean() / WIDTH**0.5
                for part in (q[head], k[head], v[head]):
                    for _ in range(attention.iterations):
                        unit = F.normalize(part, dim=1)
                        part = (scale * unit @ unit.T).softmax(dim=1) @ unit
                    unit = F.normalize(part, dim=1)
                    weights[head] = weights[head] + (scale * unit @ unit.T).softmax(dim=1) / 3
            mixed[image, :, head] = weights[head] @ v[head]
    result: Tensor = block.attn.out_proj(mixed.flatten(2))
    return result


@pytest.mark.parametrize("name", KINDS)
def test_every_attention_is_what_a_loop_over_tokens_says(
    name: str, tower: ImageTower, images: Tensor
) -> None:
    found = output(tower, images, KINDS[name])
    torch.testing.assert_close(found, slowly(tower, images, KINDS[name]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_working_on_few_rows_at_a_time_changes_nothing(
    name: str, tower: ImageTower, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = output(tower, images, KINDS[name])
    monkeypatch.setattr(dense, "WORKING_BYTES", 4 * 2 * HEADS * 25 * 3)  # three of 25 rows
    torch.testing.assert_close(output(tower, images, KINDS[name]), expected)


@pytest.mark.parametrize("name", KINDS)
def test_an_images_tokens_do_not_depend_on_its_batch(
    name: str, tower: ImageTower, images: Tensor
) -> None:
    together = output(tower, images, KINDS[name])
    torch.testing.assert_close(output(tower, images[1:], KINDS[name]), together[1:])


def test_clips_own_attention_with_residual_and_mlp_is_the_ordinary_network(
    tower: ImageTower, images: Tensor
) -> None:
    trace = tower.forward_tokens(images)
    found = dense_tokens(tower, trace, ChangedBlocks(attention=Similarity()))
    torch.testing.assert_close(found, trace.tokens[-1])


def test_the_value_path_is_the_block_of_a_token_that_is_alone(tower: ImageTower) -> None:
    one_patch = torch.randn(3, 3, 8, 8)
    trace = tower.forward_tokens(one_patch)
    tokens = dense_tokens(tower, trace, VALUE_PATH)
    alone = trace.tokens[-2][:, 1:]  # one token: its attention is the identity
    torch.testing.assert_close(tokens[:, 1:], tower.last_block(alone))


def test_outputs_of_several_blocks_are_summed_on_the_input_of_the_first(
    tower: ImageTower, images: Tensor
) -> None:
    trace = tower.forward_tokens(images)
    own = Similarity()
    total = trace.tokens[-4].clone()
    for block, tokens in zip(
        list(tower.vision.transformer.resblocks)[-3:], trace.tokens[-4:-1], strict=True
    ):
        normed = block.ln_1(tokens)
        total += block.attn(normed, normed, normed, need_weights=False)[0].detach()
    kept = ChangedBlocks(attention=own, blocks=3, feed_forward="removed")
    torch.testing.assert_close(dense_tokens(tower, trace, kept), total, atol=1e-5, rtol=1e-4)
    removed = replace(kept, residual="removed")
    torch.testing.assert_close(
        dense_tokens(tower, trace, removed), total - trace.tokens[-4], atol=1e-5, rtol=1e-4
    )
    last = tower.vision.transformer.resblocks[-1]
    mlp = replace(kept, feed_forward="kept")
    torch.testing.assert_close(
        dense_tokens(tower, trace, mlp), total + last.mlp(last.ln_2(total)), atol=1e-5, rtol=1e-4
    )


def test_the_ordinary_network_is_left_alone(tower: ImageTower, images: Tensor) -> None:
    before = tower.forward_tokens(images)
    for attention in KINDS.values():
        dense_tokens(tower, before, ChangedBlocks(attention=attention, blocks=2))
    after = tower.forward_tokens(images)
    assert all(
        torch.equal(one, other) for one, other in zip(before.tokens, after.tokens, strict=True)
    )


def test_equal_projections_make_all_self_similarities_equal_and_sclip_twice_one(
    tower: ImageTower, images: Tensor
) -> None:
    attention = tower.vision.transformer.resblocks[-1].attn
    for parameter in (attention.in_proj_weight, attention.in_proj_bias):
        parameter.data.copy_(torch.cat([parameter.data.chunk(3)[0]] * 3))
    attention.out_proj.bias.data.zero_()
    qq, kk, vv = (output(tower, images, Similarity(pairs=(pair,))) for pair in ("qq", "kk", "vv"))
    torch.testing.assert_close(qq, kk)
    torch.testing.assert_close(qq, vv)
    torch.testing.assert_close(output(tower, images, SCLIP), 2 * qq)


def test_a_window_is_symmetric_spares_the_class_token_and_has_its_limits() -> None:
    window = gaussian_window((3, 4), 1.5, "cpu")
    assert window.shape == (13, 13)
    assert torch.equal(window, window.T)
    assert not window[0].any()
    assert float(window[1, 2]) == float(window[7, 8])  # one step to the right, anywhere
    torch.testing.assert_close(gaussian_window((3, 4), 1e-3, "cpu")[1:, 1:], torch.eye(12))
    torch.testing.assert_close(gaussian_window((3, 4), 1e4, "cpu")[1:, 1:], torch.ones(12, 12))


def test_self_attention_without_temperature_averages_the_values(
    tower: ImageTower, images: Tensor
) -> None:
    found = output(tower, images, SelfSelf(temperature=0.0))
    torch.testing.assert_close(found, found.mean(dim=1, keepdim=True).expand_as(found))


def test_self_attention_knows_no_length_of_queries_and_keys(
    tower: ImageTower, images: Tensor
) -> None:
    expected = output(tower, images, SelfSelf())
    attention = tower.vision.transformer.resblocks[-1].attn
    for parameter in (attention.in_proj_weight, attention.in_proj_bias):
        parameter.data[: 2 * HEADS * WIDTH] *= 5  # queries and keys
    torch.testing.assert_close(output(tower, images, SelfSelf()), expected, atol=1e-5, rtol=1e-4)


def test_unusable_choices_are_refused(tower: ImageTower, images: Tensor) -> None:
    with pytest.raises(ValueError, match="pairs: expected some of qk, qq, kk and vv"):
        Similarity(pairs=())
    with pytest.raises(ValueError, match="window: expected a positive number of patches, got 0"):
        Similarity(window=0.0)
    with pytest.raises(ValueError, match="std: expected a positive number of patches, got -1"):
        Window(std=-1.0)
    with pytest.raises(ValueError, match="iterations: expected 0 or more, got -1"):
        SelfSelf(iterations=-1)
    with pytest.raises(ValueError, match="blocks: expected 1 or more, got 0"):
        ChangedBlocks(attention=OwnValue(), blocks=0)
    trace, change = tower.forward_tokens(images), ChangedBlocks(attention=OwnValue(), blocks=5)
    with pytest.raises(ValueError, match="expected 1 to 4, the blocks of this image tower, got 5"):
        dense_tokens(tower, trace, change)
