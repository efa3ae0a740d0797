from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weakclip.clip.attention import attend, attend_and_add, project

if TYPE_CHECKING:
    import pytest

    from tests.weakclip.conftest import ClipFactory


def test_both_ways_agree_with_torchs_multi_head_attention(make_open_clip: ClipFactory) -> None:
    block = make_open_clip().visual.transformer.resblocks[0]
    normed = torch.randn(2, 5, 32)
    expected, weights = block.attn(normed, normed, normed, need_weights=True)
    total = torch.ones(2, 5, 5)
    torch.testing.assert_close(attend_and_add(block, normed, total), expected)
    torch.testing.assert_close(total, 1 + weights)
    torch.testing.assert_close(attend(block, normed), expected)


def test_rows_of_queries_apart_give_the_same_attention(
    make_open_clip: ClipFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = make_open_clip().visual.transformer.resblocks[0]
    normed = torch.randn(2, 7, 32)
    expected, weights = block.attn(normed, normed, normed, need_weights=True)
    for size in (1, 2 * block.attn.num_heads * 7 * 4 * 3):  # one row at a time, and three
        monkeypatch.setattr("weakclip.clip.attention.WORKING_BYTES", size)
        total = torch.zeros(2, 7, 7)
        torch.testing.assert_close(attend_and_add(block, normed, total), expected)
        torch.testing.assert_close(total, weights)


def test_projection_gives_query_key_and_value_in_order(make_open_clip: ClipFactory) -> None:
    attention = make_open_clip().visual.transformer.resblocks[0]
    normed = torch.randn(1, 3, 32)
    weight, bias = attention.attn.in_proj_weight, attention.attn.in_proj_bias
    for index, part in enumerate(project(attention, normed)):
        rows = slice(32 * index, 32 * (index + 1))
        torch.testing.assert_close(part, normed @ weight[rows].T + bias[rows])
