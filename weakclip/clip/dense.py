"""Dense patch features from a frozen CLIP, by changing the attention of its last blocks.

CLIP's own attention collects the image in the class token, and the outputs of the patches do not
describe the patches. Training-free dense CLIPs correct this in a common form. They differ in which
similarity of the tokens weights the values of the last blocks, and in whether the residual path and
the feed-forward layer are kept. With X the input of the first changed block,

    Y = [X +] sum over the changed blocks of out_proj(weights v),   then Y = Y [+ MLP(ln_2(Y))]

Queries, keys and values of every changed block are those of the unchanged network: a change is
never fed into a later block. The settings of published methods are in
`weakclip/dense_attention/methods.py`.

References:
    Zhou et al., MaskCLIP, ECCV 2022 (`OwnValue`); Wang et al., SCLIP, ECCV 2024, Lan et al.,
    ClearCLIP, ECCV 2024, and Li et al., CLIP Surgery, 2023 (`Similarity`); Hajimiri et al., NACLIP,
    WACV 2025 (`Similarity` with a window, `Window`); Bousselham et al., GEM, CVPR 2024
    (`SelfSelf`); Yang et al., ExCEL, CVPR 2025 (`Similarity` over all heads).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never, cast

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip.attention import WORKING_BYTES, join_heads, split_heads

if TYPE_CHECKING:
    from collections.abc import Callable

    from open_clip.transformer import ResidualAttentionBlock
    from torch import Tensor

    from weakclip.clip.tower import ImageTower, TokenTrace

Pair = Literal["qk", "qq", "kk", "vv"]
"""Which two of query, key and value are compared; the first belongs to the row."""

Heads = tuple["Tensor", "Tensor", "Tensor"]
"""Query, key and value, each (B, heads, N, d)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnValue:
    """Every token keeps its own value: the attention weights are the identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """Softmax over tokens of inner products scaled by 1 / sqrt(d)."""

    pairs: tuple[Pair, ...] = ("qk",)
    """One softmax is computed per pair; `("qk",)` is CLIP's own attention."""
    combine: Literal["mean", "sum"] = "mean"
    """How the softmaxes are combined; with `sum`, rows sum to the number of pairs."""
    heads: Literal["own", "sum"] = "own"
    """`sum`: every head uses the sum of all heads' weights; rows sum to the number of heads."""
    window: float | None = None
    """Standard deviation, in patches, of a Gaussian with peak 1 that is added to the scaled inner
    products between patches; None adds nothing."""

    def __post_init__(self) -> None:
        if not self.pairs or not set(self.pairs) <= {"qk", "qq", "kk", "vv"}:
            raise ValueError(f"pairs: expected some of qk, qq, kk and vv, got {self.pairs}")
        _check_deviation("window", self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Softmax of the Gaussian window alone, scaled by the mean of |query| |key| / sqrt(d)."""

    std: float = 5.0
    """Standard deviation in patches."""

    def __post_init__(self) -> None:
        _check_deviation("std", self.std)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfSelf:
    """Mean of three self-attentions: value, key and query each attend to themselves (GEM)."""

    iterations: int = 1
    """Number of times that each of the three is first replaced by its own self-attention."""
    temperature: float | None = None
    """Factor on the cosines in every softmax; None: the mean norm of the normalised tokens over
    sqrt(d), per image and block."""

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ValueError(f"iterations: expected 0 or more, got {self.iterations}")


Attention: TypeAlias = OwnValue | Similarity | Window | SelfSelf


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedBlocks:
    """Changes to the last blocks of an image tower."""

    attention: Attention
    blocks: int = 1
    """Number of last blocks whose attention outputs are summed."""
    residual: Literal["kept", "removed"] = "kept"
    """`kept`: the input of the first changed block is added to the sum."""
    feed_forward: Literal["kept", "removed"] = "kept"
    """`kept`: the last block's MLP is applied, on its residual path."""

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"blocks: expected 1 or more, got {self.blocks}")


VALUE_PATH = ChangedBlocks(attention=OwnValue())
"""MaskCLIP as in its released code: residual path and MLP of the ViT are kept."""


@torch.no_grad()
def dense_tokens(tower: ImageTower, trace: TokenTrace, change: ChangedBlocks) -> Tensor:
    """Last tokens of a tower with changed last blocks, as input of `ImageTower.read_out`.

    Args:
        tower: The frozen tower.
        trace: Trace of the unchanged network, from `tower.forward_tokens`.
        change: The changes.

    Returns:
        (B, 1 + hw, D); no gradients.

    Raises:
        ValueError: If the tower has fewer blocks than are to be changed.
    """
    if change.blocks > tower.depth:
        raise ValueError(
            f"blocks: expected 1 to {tower.depth}, the blocks of this image tower, "
            f"got {change.blocks}"
        )
    changed = list(tower.vision.transformer.resblocks)[-change.blocks :]
    inputs = trace.tokens[-1 - change.blocks : -1]
    outputs = [
        block.ls_1(_attended(block, block.ln_1(tokens), change.attention, trace.grid))
        for block, tokens in zip(changed, inputs, strict=True)
    ]
    kept = [inputs[0]] if change.residual == "kept" else []
    tokens = sum([*kept, *outputs[1:]], outputs[0])
    if change.feed_forward == "kept":
        tokens = tokens + changed[-1].ls_2(changed[-1].mlp(changed[-1].ln_2(tokens)))
    return cast("Tensor", tokens)


def similarity_weights(
    spec: Similarity, heads: Heads, window: Tensor | None, rows: slice = slice(None)
) -> Tensor:
    """Attention weights of some rows of tokens, (B, heads or 1, rows, N).

    Args:
        spec: The similarities.
        heads: Query, key and value.
        window: Added to the scaled inner products, (N, N); None adds nothing.
        rows: Tokens whose weights are computed.
    """
    query, key, value = heads
    parts = {"q": query, "k": key, "v": value}
    total = torch.zeros((), device=query.device)
    for pair in spec.pairs:
        left, right = (parts[letter] for letter in pair)
        logits = left[:, :, rows] * left.shape[-1] ** -0.5 @ right.transpose(-1, -2)
        total = total + (logits if window is None else logits + window[rows]).softmax(dim=-1)
    if spec.combine == "mean":
        total = total / len(spec.pairs)
    return total.sum(dim=1, keepdim=True) if spec.heads == "sum" else total


def gaussian_window(grid: tuple[int, int], std: float, device: torch.device | str) -> Tensor:
    """exp(-distance^2 / (2 std^2)) between patches, (1 + hw, 1 + hw).

    Row and column 0, of the class token, are 0.

    Example:
        >>> gaussian_window((1, 2), 1.0, "cpu")[1:, 1:]
        tensor([[1.0000, 0.6065],
                [0.6065, 1.0000]])
    """
    rows, columns = (torch.arange(side, device=device, dtype=torch.float32) for side in grid)
    places = torch.cartesian_prod(rows, columns)  # (hw, 2)
    squared = (places[:, None] - places).square().sum(dim=2)
    return F.pad((-squared / (2 * std**2)).exp(), (1, 0, 1, 0))


def _attended(
    block: ResidualAttentionBlock, normed: Tensor, attention: Attention, grid: tuple[int, int]
) -> Tensor:
    """Output of a block with changed attention weights, (B, N, D)."""
    heads = split_heads(block, normed)
    query, key, value = heads
    match attention:
        case OwnValue():
            mixed = value
        case Similarity():
            std = attention.window
            window = None if std is None else gaussian_window(grid, std, normed.device)
            mixed = _mixed(value, lambda rows: similarity_weights(attention, heads, window, rows))
        case Window():
            window = gaussian_window(grid, attention.std, normed.device)
            lengths = query.norm(dim=-1).mean(dim=-1) * key.norm(dim=-1).mean(dim=-1)
            scale = (lengths.mean(dim=1) * query.shape[-1] ** -0.5).view(-1, 1, 1, 1)
            mixed = _mixed(value, lambda rows: (scale * window[rows]).softmax(dim=-1))
        case SelfSelf():
            mixed = _self_self(attention, heads, normed)
        case _:
            assert_never(attention)
    return join_heads(block, mixed)


def _self_self(spec: SelfSelf, heads: Heads, normed: Tensor) -> Tensor:
    """Values (B, heads, N, d) weighted by the mean of the three self-attentions."""
    scale: Tensor | float
    if spec.temperature is None:
        lengths = normed.norm(dim=-1).mean(dim=1)  # one number for each image
        scale = (lengths * heads[0].shape[-1] ** -0.5).view(-1, 1, 1, 1)
    else:
        scale = spec.temperature

    def attend(part: Tensor, values: Tensor) -> Tensor:
        keys = scale * part.transpose(-1, -2)
        return _mixed(values, lambda rows: (part[:, :, rows] @ keys).softmax(dim=-1))

    total = torch.zeros_like(heads[2])
    for part in heads:
        unit = F.normalize(part, dim=-1)
        for _ in range(spec.iterations):
            unit = F.normalize(attend(unit, unit), dim=-1)
        total += attend(unit, heads[2])
    return total / len(heads)


def _mixed(values: Tensor, weights: Callable[[slice], Tensor]) -> Tensor:
    """`weights(rows) @ values` for values (B, heads, N, d), some rows at a time."""
    mixed = torch.empty_like(values)
    batch, heads, tokens, _ = values.shape
    step = max(1, WORKING_BYTES // (batch * heads * tokens * values.element_size()))
    for first in range(0, tokens, step):
        rows = slice(first, first + step)
        mixed[:, :, rows] = weights(rows) @ values
    return mixed


def _check_deviation(name: str, value: float | None) -> None:
    if value is not None and value <= 0:
        raise ValueError(f"{name}: expected a positive number of patches, got {value}")
