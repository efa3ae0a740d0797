"""Slot `prompt`: the input of the text tower for each class.

Every kind is a module `prompt(text_tower) -> (K, E)` text embeddings, not normalised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip.text import trim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.clip.bundle import Tokenizer
    from weakclip.clip.text import TextTower


class ContextPrompt(nn.Module):
    """Learned vectors between the start token and the class name.

    References:
        Zhou et al., "Learning to Prompt for Vision-Language Models" (CoOp), IJCV 2022.
    """

    def __init__(
        self, ids: Tensor, width: int, *, length: int, class_specific: bool, init_std: float
    ) -> None:
        """Draw the context vectors from a normal distribution.

        Args:
            ids: Token ids of the bare class names, (K, L), int64.
            width: Channels W of the text tower's token embeddings.
            length: Number of context vectors M.
            class_specific: One set of vectors per class instead of one for all.
            init_std: Standard deviation of the initialisation.
        """
        super().__init__()
        ids = trim(ids)
        self.ids: Tensor
        self.register_buffer("ids", ids, persistent=False)
        sets = len(ids) if class_specific else 1
        self.context = nn.Parameter(torch.randn(sets, length, width) * init_std)

    def forward(self, text_tower: TextTower) -> Tensor:
        """Text embeddings of all classes, (K, E); gradients flow to the context vectors."""
        context = self.context.expand(len(self.ids), -1, -1)
        names = text_tower.token_embedding(self.ids)
        sentence = torch.cat([names[:, :1], context, names[:, 1:]], dim=1)
        return text_tower.encode_embeddings(sentence, self.ids.argmax(dim=-1) + context.shape[1])


class FixedPrompt(nn.Module):
    """Embeddings computed once from hand-written sentences; no weights."""

    def __init__(self, embeddings: Tensor) -> None:
        """Store the text embeddings, (K, E)."""
        super().__init__()
        self.embeddings: Tensor
        self.register_buffer("embeddings", embeddings, persistent=False)

    def forward(self, text_tower: TextTower) -> Tensor:
        """Text embeddings of all classes, (K, E)."""
        return self.embeddings


def encode_template(
    text_tower: TextTower, tokenize: Tokenizer, names: Sequence[str], template: str
) -> Tensor:
    """Text embeddings of the template filled with each of `names`, (K, E), not normalised."""
    ids = tokenize([template.format(name) for name in names])
    return text_tower.encode_tokens(ids.to(text_tower.positional_embedding.device))


def encode_ensemble(
    text_tower: TextTower, tokenize: Tokenizer, names: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """Mean over the templates of the normalised text embeddings of `names`, (K, E)."""
    embeddings = [encode_template(text_tower, tokenize, names, each) for each in templates]
    return torch.stack([F.normalize(each, dim=-1) for each in embeddings]).mean(dim=0)
