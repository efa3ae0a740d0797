"""Slot `matching`: text and image embeddings attend to each other before they are compared.

Every kind is a module `matching(text, global_embedding, dense_embedding) -> Matched`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Matched:
    """Embeddings of text and image, ready for comparison."""

    text: Tensor
    """Text embeddings per image, (B, K, E)."""
    dense: Tensor
    """Visual embeddings, (B, E, h, w)."""


def text_to_pixel_scores(visual: Tensor, text: Tensor) -> Tensor:
    """Cosine similarity of every class prompt with every feature cell.

    Args:
        visual: Visual embeddings, (B, E, h, w), any scale.
        text: Text embeddings, (B, K, E), any scale.

    Returns:
        Score map, (B, K, h, w), each value in [-1, 1]. Divide by `tau` for logits.

    Raises:
        ValueError: If a rank is wrong, or B or E differ between the two.

    References:
        Zhu et al. 2025, text-to-pixel matching.
    """
    batch, channels, _, _ = dims(visual, "B E h w", name="visual")
    text_batch, _, text_channels = dims(text, "B K E", name="text")
    if (batch, channels) != (text_batch, text_channels):
        raise ValueError(
            f"visual and text embeddings: expected the same B and E, got {tuple(visual.shape)} "
            f"and {tuple(text.shape)}"
        )
    return torch.einsum("behw,bke->bkhw", F.normalize(visual, dim=1), F.normalize(text, dim=2))


class DirectMatching(nn.Module):
    """CLIP's own embeddings, unchanged; no weights."""

    def forward(self, text: Tensor, global_embedding: Tensor, dense_embedding: Tensor) -> Matched:
        """The embeddings unchanged; `text` (K, E) is repeated for the B images."""
        return Matched(
            text=text.expand(len(global_embedding), -1, -1),
            dense=dense_embedding,
        )


class CoAttentionMatching(nn.Module):
    """Two cross-attention stacks; each result is added to the embeddings it updates.

    References:
        Zhu et al. 2025, co-attention matching; the text side is the context decoder of
        Rao et al., "DenseCLIP", CVPR 2022.
    """

    def __init__(
        self,
        embed_dim: int,
        width: int,
        text_update: AttentionUpdate | NoUpdate,
        image_update: AttentionUpdate | NoUpdate,
    ) -> None:
        """Combine the two sides.

        Args:
            embed_dim: Channels E of the embeddings.
            width: Channels inside the stacks.
            text_update: Change of the text embeddings, by attention to the image.
            image_update: Change of the image embeddings, by attention to the text.
        """
        super().__init__()
        self.visual_projection = nn.Sequential(
            nn.LayerNorm(embed_dim), nn.Linear(embed_dim, width), nn.LayerNorm(width)
        )
        self.text_projection = nn.Sequential(nn.LayerNorm(embed_dim), nn.Linear(embed_dim, width))
        self.text_update = text_update
        self.image_update = image_update

    def forward(self, text: Tensor, global_embedding: Tensor, dense_embedding: Tensor) -> Matched:
        """Update both sides.

        Args:
            text: Text embeddings, (K, E).
            global_embedding: Image embeddings, (B, E).
            dense_embedding: Patch embeddings, (B, E, h, w).

        Returns:
            The updated embeddings; the global embedding takes part but is not returned.
        """
        batch, _, height, width = dims(dense_embedding, "B E h w", name="dense_embedding")
        patches = dense_embedding.flatten(2).transpose(1, 2)
        visual = torch.cat([global_embedding.unsqueeze(1), patches], dim=1)  # (B, 1 + hw, E)
        visual_context = self.visual_projection(visual)
        text_context = self.text_projection(text).expand(batch, -1, -1)
        visual = visual + self.image_update(visual_context, text_context)
        return Matched(
            text=text.expand(batch, -1, -1) + self.text_update(text_context, visual_context),
            dense=torch.unflatten(visual[:, 1:].transpose(1, 2), -1, (height, width)),
        )


class AttentionUpdate(nn.Module):
    """A stack of decoder layers, followed by a projection to E channels and a channel scale."""

    def __init__(
        self,
        embed_dim: int,
        layers: nn.ModuleList,
        run: Callable[[nn.ModuleList, Tensor, Tensor], Tensor],
        *,
        width: int,
        initial_scale: float,
    ) -> None:
        """Store the stack.

        Args:
            embed_dim: Channels E of the embeddings.
            layers: Decoder layers of `width` channels.
            run: How the layers are connected: `run_sequential` or `run_last`.
            width: Channels inside the stack.
            initial_scale: Initial value of the learned per-channel scale.
        """
        super().__init__()
        self.layers = layers
        self.run = run
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, embed_dim))
        self.scale = nn.Parameter(torch.full((embed_dim,), initial_scale))

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Change of the queries, (B, Q, E), from queries (B, Q, C) and memory (B, M, C)."""
        change = self.output(self.run(self.layers, query, memory))
        return cast("Tensor", self.scale * change)


class NoUpdate(nn.Module):
    """No change; no weights."""

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Zero, of shape ()."""
        return query.new_zeros(())


def run_sequential(layers: nn.ModuleList, query: Tensor, memory: Tensor) -> Tensor:
    """Run the layers as a decoder: each takes the output of the previous one."""
    for layer in layers:
        query = cast("Tensor", layer(query, memory))
    return query


def run_last(layers: nn.ModuleList, query: Tensor, memory: Tensor) -> Tensor:
    """Run only the last layer, on the original input.

    The release feeds every layer the original input and keeps the last output, so the earlier
    layers have no effect and no gradient. They are not computed here.
    """
    return cast("Tensor", layers[-1](query, memory))


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, cross-attention to memory that is not normalised, and GELU MLP."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Initialise a layer of `width` channels."""
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.cross_attn = Attention(width, heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Updated queries, (B, Q, C), from queries (B, Q, C) and memory (B, M, C)."""
        normed = self.norm1(query)
        query = query + self.self_attn(normed, normed)
        query = query + self.cross_attn(self.norm2(query), memory)
        update: Tensor = self.dropout(self.mlp(self.norm3(query)))
        return query + update


class Attention(nn.Module):
    """Multi-head attention without biases on query, key and value."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Initialise for `width` channels; dropout acts on the output."""
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Attended memory, (B, Q, C), from queries (B, Q, C) and memory (B, M, C)."""
        attended = F.scaled_dot_product_attention(
            self._split(self.q_proj(query)),
            self._split(self.k_proj(memory)),
            self._split(self.v_proj(memory)),
        )
        return cast("Tensor", self.proj_drop(self.proj(attended.transpose(1, 2).flatten(2))))

    def _split(self, tokens: Tensor) -> Tensor:
        return torch.unflatten(tokens, -1, (self.heads, -1)).transpose(1, 2)
