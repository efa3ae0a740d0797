"""Self-attention of an open_clip block taken apart: projections, heads, weights.

open_clip hides its attention weights; seeds and affinity-based rivals are made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock
    from torch import Tensor


def project(block: ResidualAttentionBlock, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of each token, each (B, N, D), from `ln_1`'s output (B, N, D)."""
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
    query, key, value = F.linear(normed, weight, bias).chunk(3, dim=-1)
    return query, key, value


def attend(block: ResidualAttentionBlock, normed: Tensor) -> Tensor:
    """Output of the attention, (B, N, D), by the fused kernel."""
    query, key, value = _split(block, normed)
    return _join(block, F.scaled_dot_product_attention(query, key, value))


def attend_with_weights(block: ResidualAttentionBlock, normed: Tensor) -> tuple[Tensor, Tensor]:
    """Output of the attention, (B, N, D), and its weights, mean of the heads, (B, N, N)."""
    query, key, value = _split(block, normed)
    weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
    return _join(block, weights @ value), weights.mean(dim=1)


def _split(block: ResidualAttentionBlock, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    heads = (block.attn.num_heads, -1)
    query, key, value = (
        torch.unflatten(part, -1, heads).transpose(1, 2) for part in project(block, normed)
    )
    return query, key, value  # each (B, heads, N, D / heads)


def _join(block: ResidualAttentionBlock, attended: Tensor) -> Tensor:
    return cast("Tensor", block.attn.out_proj(attended.transpose(1, 2).flatten(2)))
