"""Embeddings of images, mosaics and captions during the pretraining of micro-CLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

    from weakclip.clip.micro import MicroCLIP, MicroConfig


def token_embeddings(model: MicroCLIP, images: Tensor, positions: Tensor) -> Tensor:
    """Projected patch tokens of images, with a selection of the position embeddings.

    Args:
        model: A CLIP of `build_micro`.
        images: (B, 3, S, S), normalised.
        positions: Index of the position embedding of each patch, (N,).

    Returns:
        Token embeddings before normalisation, (B, N, E).
    """
    visual = model.visual
    patches = visual.conv1(images).flatten(2).transpose(1, 2)
    position = visual.positional_embedding
    start = (visual.class_embedding + position[0]).expand(len(images), 1, -1)
    states = visual.ln_pre(torch.cat([start, patches + position[1 + positions]], dim=1))
    for block in visual.transformer.resblocks:
        states = block(states)
    tokens: Tensor = visual.ln_post(states)[:, 1:] @ visual.proj
    return tokens


def image_embeddings(
    model: MicroCLIP, config: MicroConfig, images: Tensor, kind: str, generator: Generator
) -> Tensor:
    """Unit-length image embeddings: the mean patch token, for mosaics that of each quadrant.

    Args:
        model: A CLIP of `build_micro`.
        config: Its sizes.
        images: (B, 3, S, S), normalised; tiles get a random window of the position embeddings.
        kind: `tile`, `mosaic` or `scene`.
        generator: Chooses the window of tiles.

    Returns:
        (B, E); (4 B, E) for mosaics.
    """
    grid = config.image_size // config.patch_size
    index = torch.arange(grid * grid, device=images.device).view(grid, grid)
    if kind == "tile":
        side = images.shape[-1] // config.patch_size
        top, left = generator.integers(0, grid - side + 1, 2)
        index = index[top : top + side, left : left + side]
    tokens = token_embeddings(model, images, index.flatten())
    if kind == "mosaic":
        half, size = grid // 2, len(tokens)
        tokens = tokens.view(size, 2, half, 2, half, -1).mean(dim=(2, 4)).flatten(0, 2)
        return functional.normalize(tokens, dim=-1)
    return functional.normalize(tokens.mean(dim=1), dim=-1)


def text_embeddings(model: MicroCLIP, tokens: Tensor) -> Tensor:
    """Text embeddings, (N, E), not normalised, from token ids (N, L).

    Positions after the end of the longest text are padding and not computed.
    """
    ends = tokens.argmax(dim=1)
    length = int(ends.max()) + 1
    states = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    states = model.transformer(states, attn_mask=model.attn_mask[:length, :length])
    states = model.ln_final(states)[torch.arange(len(tokens), device=tokens.device), ends]
    embeddings: Tensor = states @ model.text_projection
    return embeddings


def mosaics(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Join tiles (4 B, T, T, 3) to mosaics of two by two, (B, 2 T, 2 T, 3)."""
    side = tiles.shape[1]
    rows = tiles.reshape(-1, 2, 2, side, side, 3).transpose(0, 1, 3, 2, 4, 5)
    return rows.reshape(-1, 2 * side, 2 * side, 3)
