"""The parts of an open_clip block's self-attention: projections, heads, weights.

open_clip does not expose its attention weights, which seeds and affinity-based baselines need.
Weights have one value per pair of tokens, so those of all heads are never held at once. Attention
that differs from CLIP's own is in `weakclip/clip/dense.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock
    from torch import Tensor

WORKING_BYTES = 32 << 20
"""Bytes of attention weights, over all heads, that are computed at a time."""


def project(block: ResidualAttentionBlock, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of each token, each (B, N, D), from `ln_1`'s output (B, N, D)."""
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
    query, key, value = F.linear(normed, weight, bias).chunk(3, dim=-1)
    return query, key, value


def attend(block: ResidualAttentionBlock, normed: Tensor) -> Tensor:
    """Output of the attention, (B, N, D), by the fused kernel."""
    query, key, value = split_heads(block, normed)
    return join_heads(block, F.scaled_dot_product_attention(query, key, value))


@torch.no_grad()
def attend_and_add(block: ResidualAttentionBlock, normed: Tensor, total: Tensor) -> Tensor:
    """Output of the attention; the mean of its weights over the heads is added to `total`.

    Args:
        block: A block of the tower.
        normed: Output of its `ln_1`, (B, N, D).
        total: Changed in place, (B, N, N); each row (dimension 1) of the added weights sums to 1.

    Returns:
        (B, N, D), without gradients. Rows of queries are processed in chunks, so that apart from
        `total` only `WORKING_BYTES` of weights and as many of logits are held.
    """
    query, key, value = split_heads(block, normed)
    attended = torch.empty_like(query)
    batch, heads, tokens, width = query.shape
    rows = max(1, WORKING_BYTES // (batch * heads * tokens * query.element_size()))
    for first in range(0, tokens, rows):
        part = slice(first, first + rows)
        weights = (query[:, :, part] * width**-0.5 @ key.transpose(-1, -2)).softmax(dim=-1)
        attended[:, :, part] = weights @ value
        total[:, part] += weights.mean(dim=1)
    return join_heads(block, attended)


def split_heads(block: ResidualAttentionBlock, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value by heads, each (B, heads, N, D / heads), from `ln_1`'s output."""
    heads = (block.attn.num_heads, -1)
    query, key, value = (
        torch.unflatten(part, -1, heads).transpose(1, 2) for part in project(block, normed)
    )
    return query, key, value


def join_heads(block: ResidualAttentionBlock, attended: Tensor) -> Tensor:
    """Output projection, (B, N, D), of the heads' results (B, heads, N, D / heads)."""
    return cast("Tensor", block.attn.out_proj(attended.transpose(1, 2).flatten(2)))
