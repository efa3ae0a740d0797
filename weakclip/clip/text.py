"""The frozen CLIP text tower, for token ids or for learnable token embeddings.

`CLIP.encode_text` accepts only token ids, but prompt learning needs to pass token embeddings.
Gradients flow through the tower to those embeddings, never to its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from open_clip.model import CLIP
    from torch import Tensor


class TextTower(nn.Module):
    """Text tower of an open_clip model, frozen: causal transformer, end-of-text (EOT) pooling."""

    def __init__(self, clip: CLIP) -> None:
        """Freeze and store the text tower of `clip` (a `CLIP` or `CustomTextCLIP`).

        Raises:
            ValueError: If the tower is not causal or does not pool at its EOT token.
        """
        super().__init__()
        parts = getattr(clip, "text", clip)
        pooling = getattr(parts, "text_pool_type", getattr(parts, "pool_type", None))
        if pooling != "argmax" or parts.attn_mask is None:
            raise ValueError(
                "text tower: expected a causal transformer that reads out its last token "
                f"('argmax' pooling), got pooling {pooling!r}; choose a CLIP of this kind"
            )
        self.token_embedding = parts.token_embedding
        self.positional_embedding = parts.positional_embedding
        self.transformer = parts.transformer
        self.ln_final = parts.ln_final
        self.text_projection = parts.text_projection
        self.requires_grad_(requires_grad=False)
        self.train(mode=False)

    @property
    def width(self) -> int:
        """Channels W of the token embeddings."""
        return int(self.token_embedding.weight.shape[1])

    @property
    def context_length(self) -> int:
        """Maximum number of positions in a sequence."""
        return len(self.positional_embedding)

    def train(self, mode: bool = True) -> TextTower:  # noqa: FBT001, FBT002 (nn.Module's)
        """Do nothing: the tower is always in evaluation mode."""
        super().train(mode=False)
        return self

    def encode_tokens(self, ids: Tensor) -> Tensor:
        """Embeddings of tokenised texts.

        Args:
            ids: Token ids, (K, L), int64, padded with 0. The end-of-text token has the largest id,
                so the arg-max is its position; the padding after it has no influence.

        Returns:
            Text embeddings, (K, E), not normalised; no gradients.
        """
        with torch.no_grad():
            ids = trim(ids)
            return self.encode_embeddings(self.token_embedding(ids), ids.argmax(dim=-1))

    def encode_embeddings(self, embeddings: Tensor, eot: Tensor) -> Tensor:
        """Text embeddings of sequences of token embeddings; gradients flow to `embeddings`.

        Args:
            embeddings: Token embeddings without positions, (K, L, W). The mask is causal, so cut
                the padding after the last end-of-text token (`trim`) to save computation.
            eot: Position of the end-of-text token of each sequence, (K,), int64.

        Returns:
            Text embeddings, (K, E), not normalised.

        Raises:
            ValueError: If a sequence is longer than the tower's context.
        """
        count, length, _ = dims(embeddings, "K L W", name="embeddings")
        if length > self.context_length:
            raise ValueError(
                f"prompt of {length} tokens: this text tower has {self.context_length} positions; "
                "use fewer context vectors or a shorter name"
            )
        states = embeddings + self.positional_embedding[:length]
        mask = torch.full((length, length), float("-inf"), device=states.device).triu(1)
        states = self.ln_final(self.transformer(states, attn_mask=mask))
        pooled = states[torch.arange(count, device=states.device), eot]
        return _project(pooled, self.text_projection)


def trim(ids: Tensor) -> Tensor:
    """Token ids without the padding after the longest text.

    Args:
        ids: Token ids, (K, L), int64, end-of-text id the largest.

    Returns:
        Token ids, (K, L'), with L' = the last end-of-text position + 1.

    Example:
        >>> trim(torch.tensor([[5, 1, 9, 0, 0], [5, 9, 0, 0, 0]])).shape
        torch.Size([2, 3])
    """
    dims(ids, "K L", name="ids")
    return ids[:, : int(ids.argmax(dim=-1).max()) + 1]


def _project(pooled: Tensor, projection: nn.Linear | nn.Parameter | None) -> Tensor:
    if projection is None:
        return pooled
    weight = projection.weight if isinstance(projection, nn.Linear) else projection.T
    bias = projection.bias if isinstance(projection, nn.Linear) else None
    return F.linear(pooled, weight, bias)
