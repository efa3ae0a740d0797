"""The frozen CLIP image tower, with access to what dense prediction needs.

An open_clip `VisionTransformer` returns one vector per image. WeakCLIP needs the patch tokens of
several blocks and the projected last tokens. Seeds and training-free baselines need the mean
attention of the last blocks and a differentiable last block. All this is here, so that no other
file depends on the structure of a vision transformer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never, cast

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip.attention import attend, attend_and_add, project
from weakclip.ops.precision import at_least_single
from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from torch import Tensor

ClassToken = Literal["clip", "release"]
"""`clip`: the class embedding is added once; `release`: again with its position embedding."""

Positions = Literal["exact", "half", "bicubic", "antialiased"]
"""How position embeddings are resized to the patch grid.

`exact`: bilinearly. `half`: bilinearly, then rounded to half precision, as in CLIP-ES. `bicubic`:
without antialiasing and with the inexact scale factor (side + 0.1) / native side; unchanged if the
number of patches is the native one; as in DINO's and SCLIP's code. `antialiased`: bicubic with
antialiasing, as in GEM."""

Taps = tuple[int, int, int, int]
"""0-based blocks whose outputs feed the pyramid, finest level first."""


@dataclass(frozen=True, slots=True)
class Features:
    """Features of a batch from the frozen tower; without gradients, so they can be cached."""

    taps: tuple[Tensor, ...]
    """Patch tokens after four blocks, each (B, D, h, w)."""
    global_embedding: Tensor
    """Image embedding, (B, E), not normalised."""
    dense_embedding: Tensor
    """Projected patch tokens of the last block, (B, E, h, w), not normalised."""

    def select(self, rows: Tensor | slice) -> Features:
        """The features of some images of the batch."""
        return Features(
            taps=tuple(tap[rows] for tap in self.taps),
            global_embedding=self.global_embedding[rows],
            dense_embedding=self.dense_embedding[rows],
        )

    def to(self, device: torch.device | str) -> Features:
        """The features on another device."""
        return Features(
            taps=tuple(tap.to(device) for tap in self.taps),
            global_embedding=self.global_embedding.to(device),
            dense_embedding=self.dense_embedding.to(device),
        )


def concatenate(parts: list[Features]) -> Features:
    """Concatenate batches with the same grid, in order."""
    return Features(
        taps=tuple(torch.cat(level) for level in zip(*(part.taps for part in parts), strict=True)),
        global_embedding=torch.cat([part.global_embedding for part in parts]),
        dense_embedding=torch.cat([part.dense_embedding for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """Intermediate results of one forward pass through the tower."""

    grid: tuple[int, int]
    """Patch rows and columns (h, w)."""
    tokens: tuple[Tensor, ...]
    """Tokens before the first block and after each block: L + 1 of (B, 1 + hw, D)."""
    attention: Tensor | None
    """Attention of the last blocks, averaged over heads; rows sum to 1. Averaged over the blocks,
    (B, 1 + hw, 1 + hw), or per block, (B, blocks, 1 + hw, 1 + hw); None unless requested."""


class ImageTower(nn.Module):
    """A frozen open_clip `VisionTransformer` for images of any size.

    The weights never get gradients and the layers are always in evaluation mode; only drop path, if
    enabled, follows `train()`. Position embeddings are resized to the patch grid of each call (see
    `Positions`). If an image side is not a multiple of the patch, the remainder at the right or
    bottom is ignored, as in the release (the patch embedding is a strided convolution).
    """

    def __init__(
        self,
        vision: VisionTransformer,
        *,
        taps: Taps | None = None,
        class_token: ClassToken = "clip",
        positions: Positions = "exact",
        drop_path: float = 0.0,
    ) -> None:
        """Freeze `vision` and store it.

        Args:
            vision: The image part of an open_clip model. It is frozen in place.
            taps: Blocks whose outputs feed the pyramid; by default `default_taps` of the depth.
            class_token: See `ClassToken`.
            positions: See `Positions`.
            drop_path: Stochastic-depth rate of the last block in training; it grows linearly from
                0 at the first block (the release keeps it active in its frozen tower).

        Raises:
            ValueError: If the architecture is not a plain ViT with a learned square position grid,
                or a tap names a block that does not exist.
        """
        super().__init__()
        _check_architecture(vision)
        self.vision = vision.requires_grad_(requires_grad=False).eval()
        self.depth = len(vision.transformer.resblocks)
        self.taps = default_taps(self.depth) if taps is None else taps
        if len(self.taps) != 4 or not set(self.taps) <= set(range(self.depth)):
            raise ValueError(
                f"taps: expected four blocks in 0..{self.depth - 1} for this image tower of "
                f"{self.depth} blocks, got {self.taps}; set `taps` in the config"
            )
        self.class_token = class_token
        self.positions = positions
        self.drop_rates = tuple(torch.linspace(0, drop_path, self.depth, device="cpu").tolist())

    @property
    def width(self) -> int:
        """Channels D of the tokens."""
        return int(self.vision.conv1.out_channels)

    @property
    def embed_dim(self) -> int:
        """Channels E of the embedding space shared with the text tower."""
        return int(self.vision.proj.shape[1])

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.vision.patch_size[0])

    def configured(
        self,
        *,
        taps: Taps | None = None,
        class_token: ClassToken = "clip",
        positions: Positions = "exact",
        drop_path: float = 0.0,
    ) -> ImageTower:
        """A tower with the same weights and other settings; see `ImageTower`."""
        return ImageTower(
            self.vision,
            taps=taps,
            class_token=class_token,
            positions=positions,
            drop_path=drop_path,
        )

    def train(self, mode: bool = True) -> ImageTower:  # noqa: FBT001, FBT002 (nn.Module's)
        """Switch drop path on or off; the frozen layers stay in evaluation mode."""
        super().train(mode)
        self.vision.eval()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Frozen features of a batch.

        Args:
            images: Normalised images, (B, 3, H, W).

        Returns:
            Features on the grid h = H // patch, w = W // patch, in float32 even under autocast.

        Raises:
            ValueError: If the rank is wrong or an image is smaller than a patch.
        """
        trace = self.forward_tokens(images)
        global_embedding, dense_embedding = self.read_out(trace.tokens[-1], trace.grid)
        return Features(
            taps=tuple(
                at_least_single(_to_map(trace.tokens[block + 1], trace.grid)) for block in self.taps
            ),
            global_embedding=at_least_single(global_embedding),
            dense_embedding=at_least_single(dense_embedding),
        )

    @torch.no_grad()
    def forward_tokens(
        self, images: Tensor, *, attention_blocks: int = 0, keep: Literal["mean", "each"] = "mean"
    ) -> TokenTrace:
        """Tokens before and after every block, and attention if requested.

        Args:
            images: Normalised images, (B, 3, H, W).
            attention_blocks: Number of last blocks whose attention is kept.
            keep: Keep their mean, (1 + hw)^2 values per image for any number of blocks, or each
                of them.

        Returns:
            The trace. `tokens[-2]` is the input of the last block, for `last_block`.

        Raises:
            ValueError: If the tower has fewer blocks.
        """
        if not 0 <= attention_blocks <= self.depth:
            raise ValueError(
                f"attention_blocks: expected 0 to {self.depth}, the blocks of this image tower, "
                f"got {attention_blocks}"
            )
        tokens, grid = self.embed(images)
        count = tokens.shape[1]
        first = self.depth - attention_blocks
        kept = min(attention_blocks, 1) if keep == "mean" else attention_blocks
        totals = [tokens.new_zeros(len(tokens), count, count) for _ in range(kept)]
        states = [tokens]
        for index, block in enumerate(self.vision.transformer.resblocks):
            total = totals[min(index - first, kept - 1)] if index >= first else None
            states.append(self._block(block, states[-1], index, total))
        attention = None
        if totals:
            mean = keep == "mean"
            attention = totals[0].div_(attention_blocks) if mean else torch.stack(totals, dim=1)
        return TokenTrace(grid=grid, tokens=tuple(states), attention=attention)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Class and patch tokens with position embeddings, after `ln_pre`.

        Args:
            images: Normalised images, (B, 3, H, W).

        Returns:
            Tokens (B, 1 + hw, D), class token first, and the grid (h, w).
        """
        batch, _, height, width = dims(images, "B 3 H W", name="images")
        if min(height, width) < self.patch_size:
            raise ValueError(
                f"images: expected sides of at least one patch ({self.patch_size} pixels), "
                f"got {height} x {width}; resize the image first"
            )
        vision = self.vision
        patches = vision.conv1(images)
        grid = (int(patches.shape[2]), int(patches.shape[3]))
        token = vision.class_embedding.expand(batch, 1, -1)
        tokens = torch.cat([token, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = vision.ln_pre(tokens + self._positions(grid))
        return cast("Tensor", tokens), grid

    def last_norm(self, tokens: Tensor) -> Tensor:
        """Output of the last block's first normalisation, (B, 1 + hw, D); differentiable."""
        return cast("Tensor", self.vision.transformer.resblocks[-1].ln_1(tokens))

    def last_block(self, tokens: Tensor, normed: Tensor | None = None) -> Tensor:
        """The last block, differentiable with respect to its input or its `ln_1` output.

        Args:
            tokens: Input of the block, (B, 1 + hw, D): `TokenTrace.tokens[-2]`.
            normed: Output of `last_norm`, for gradients with respect to it alone (the residual path
                is constant if `tokens` carries no gradient); computed here if None.

        Returns:
            Output tokens, (B, 1 + hw, D). Gradients flow to the inputs, never to the weights; the
            fused kernel stores no attention matrix for the backward pass.
        """
        block = self.vision.transformer.resblocks[-1]
        normed = block.ln_1(tokens) if normed is None else normed
        tokens = tokens + block.ls_1(attend(block, normed))
        return cast("Tensor", tokens + block.ls_2(block.mlp(block.ln_2(tokens))))

    def last_keys(self, tokens: Tensor) -> Tensor:
        """Keys of the last block's attention, (B, 1 + hw, D), from its input of the same shape."""
        block = self.vision.transformer.resblocks[-1]
        return project(block, block.ln_1(tokens))[1]

    def read_out(self, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Global and dense embeddings of the last tokens, by the tower's own pooling.

        Args:
            tokens: Output of the last block, (B, 1 + hw, D).
            grid: Patch rows and columns (h, w).

        Returns:
            Global (B, E) and dense (B, E, h, w) embeddings, not normalised; differentiable.
        """
        vision = self.vision
        projected = vision.ln_post(tokens) @ vision.proj
        dense = _to_map(projected, grid)
        if vision.pool_type == "tok":
            return projected[:, 0], dense
        if vision.final_ln_after_pool:
            return vision.ln_post(tokens[:, 1:].mean(dim=1)) @ vision.proj, dense
        return projected[:, 1:].mean(dim=1), dense

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        positions = cast("Tensor", self.vision.positional_embedding)
        side = round((len(positions) - 1) ** 0.5)
        first, rest = positions[:1], positions[1:]
        if self.class_token == "release":
            first = first + self.vision.class_embedding
        if grid != (side, side):
            square = rest.T.reshape(1, -1, side, side)
            rest = _resized(square, grid, self.positions)[0].flatten(1).T
        positions = torch.cat([first, rest])
        return positions.half().to(rest.dtype) if self.positions == "half" else positions

    def _block(
        self,
        block: ResidualAttentionBlock,
        tokens: Tensor,
        index: int,
        total: Tensor | None,
    ) -> Tensor:
        """Tokens after the block at `index`; its attention is added to `total`, if any."""
        normed, rate = block.ln_1(tokens), self.drop_rates[index]
        attended = attend(block, normed) if total is None else attend_and_add(block, normed, total)
        tokens = tokens + self._drop(block.ls_1(attended), rate)
        return tokens + self._drop(block.ls_2(block.mlp(block.ln_2(tokens))), rate)

    def _drop(self, branch: Tensor, rate: float) -> Tensor:
        """Stochastic depth: zero the branch for random images and scale it up for the others."""
        if not self.training or rate == 0:
            return branch
        keep = torch.rand(len(branch), 1, 1, device=branch.device) >= rate
        return branch * keep / (1 - rate)


def default_taps(depth: int) -> Taps:
    """Blocks at a third, a half, two thirds and the end of a tower.

    Example:
        >>> default_taps(12)
        (3, 5, 7, 11)
    """
    return (max(depth // 3 - 1, 0), max(depth // 2 - 1, 0), max(2 * depth // 3 - 1, 0), depth - 1)


def _check_architecture(vision: VisionTransformer) -> None:
    if not isinstance(vision, VisionTransformer):
        raise ValueError(
            f"image tower: expected an open_clip VisionTransformer, got {type(vision).__name__}; "
            "choose a ViT model of open_clip"
        )
    plain = all(isinstance(block, ResidualAttentionBlock) for block in vision.transformer.resblocks)
    if not plain or vision.attn_pool is not None or vision.pool_type not in {"tok", "avg"}:
        raise ValueError(
            "image tower: expected plain attention blocks and pooling 'tok' or 'avg', got pooling "
            f"{vision.pool_type!r} with blocks {type(vision.transformer.resblocks[0]).__name__}; "
            "choose a plain ViT model of open_clip"
        )
    if vision.grid_size[0] != vision.grid_size[1]:
        raise ValueError(f"image tower: expected a square patch grid, got {vision.grid_size}")


def _resized(square: Tensor, grid: tuple[int, int], positions: Positions) -> Tensor:
    """Resize position embeddings (1, D, side, side) to another grid, (1, D, h, w)."""
    side = square.shape[-1]
    match positions:
        case "exact" | "half":
            return F.interpolate(square, grid, mode="bilinear", align_corners=False)
        case "antialiased":
            return F.interpolate(square, grid, mode="bicubic", align_corners=False, antialias=True)
        case "bicubic" if grid[0] * grid[1] == side * side:
            return square.reshape(1, -1, *grid)
        case "bicubic":
            factors = [(length + 0.1) / side for length in grid]  # also used for the coordinates
            return F.interpolate(
                square, scale_factor=factors, mode="bicubic", recompute_scale_factor=False
            )
        case _:
            assert_never(positions)


def _to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patch tokens of (B, 1 + hw, C) as a contiguous map (B, C, h, w), without the class token."""
    # Contiguous: GroupNorm on CPU is slow on transposed memory, and had a bug there.
    return torch.unflatten(tokens[:, 1:].transpose(1, 2), -1, grid).contiguous()
