"""Random walks with short steps on a pixel grid: pairs of nearby pixels, and the walk itself.

AffinityNet and its successors build a dense (hw, hw) transition matrix and square it eight times.
A step reaches only a few pixels, so here it is a sum of shifted maps: memory grows with hw instead
of its square, and a batch is one call on one device.

References:
    Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision"
    (AffinityNet), CVPR 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

Offset: TypeAlias = tuple[int, int]
"""Rows down (not negative) and columns to the right (any sign) from a pixel to its neighbour."""

Window: TypeAlias = tuple[slice, slice]


def disc_offsets(radius: int) -> tuple[Offset, ...]:
    """Offsets to the pixels closer than `radius`, one of each pair of opposite offsets.

    Raises:
        ValueError: If the radius is below 2; then no pixel has a neighbour.

    Example:
        >>> disc_offsets(2)
        ((0, 1), (1, -1), (1, 0), (1, 1))
        >>> len(disc_offsets(5)), len(disc_offsets(10))
        (34, 152)
    """
    if radius < 2:
        raise ValueError(f"radius: expected 2 or more pixels, got {radius}")
    reach = range(1 - radius, radius)
    return tuple(
        (down, right)
        for down in range(radius)
        for right in reach
        if (down, right) > (0, 0) and down**2 + right**2 < radius**2
    )


def pair_windows(size: tuple[int, int], offset: Offset) -> tuple[Window, Window]:
    """Windows of the pixels that have a neighbour at `offset`, and of those neighbours.

    Args:
        size: Height and width of the grid.
        offset: Offset from a pixel to its neighbour.

    Returns:
        Two windows of the same shape, empty if the grid is smaller than the offset.

    Example:
        >>> pair_windows((4, 5), (1, -2))
        ((slice(0, 3, None), slice(2, 5, None)), (slice(1, 4, None), slice(0, 3, None)))
    """
    spans = []
    for side, step in zip(size, offset, strict=True):
        length = max(side - abs(step), 0)
        first, second = max(-step, 0), max(step, 0)
        spans.append((slice(first, first + length), slice(second, second + length)))
    (rows, to_rows), (columns, to_columns) = spans
    return (rows, columns), (to_rows, to_columns)


def pair_values(maps: Tensor, offsets: Sequence[Offset]) -> Iterator[tuple[Tensor, Tensor]]:
    """Values at both ends of every pair, one offset at a time.

    Args:
        maps: (..., h, w).
        offsets: Offsets from a pixel to its neighbours.

    Yields:
        Views (..., h', w') of the pixels and of their neighbours.
    """
    size = (maps.shape[-2], maps.shape[-1])
    for offset in offsets:
        (rows, columns), (to_rows, to_columns) = pair_windows(size, offset)
        yield maps[..., rows, columns], maps[..., to_rows, to_columns]


@torch.no_grad()
def random_walk(
    scores: Tensor,
    affinities: Iterable[Tensor],
    offsets: Sequence[Offset],
    *,
    sharpness: float,
    steps: int,
) -> Tensor:
    """Scores after a random walk; each step replaces a value by a mean of itself and neighbours.

    Affinities are symmetric and raised to `sharpness`, a pixel's own affinity is 1, and the weights
    of each mean sum to 1. So values stay in their range for any affinities.

    Args:
        scores: (B, C, h, w), any range.
        affinities: For each offset (B, h', w'), in [0, 1], aligned as by `pair_windows`.
        offsets: Offsets from a pixel to its neighbours.
        sharpness: Exponent of the affinities ("beta"), > 0.
        steps: Number of steps, 0 or more (2^8 in AffinityNet).

    Returns:
        (B, C, h, w); no gradients.

    Raises:
        ValueError: If a shape does not fit or a number is out of range.
    """
    batch, _, height, width = dims(scores, "B C h w", name="scores")
    if sharpness <= 0 or steps < 0:
        raise ValueError(
            f"random walk: expected a sharpness > 0 and 0 or more steps, got {sharpness}, {steps}"
        )
    total = scores.new_ones(batch, height, width)
    links = []
    for affinity, offset in zip(affinities, offsets, strict=True):
        pixels, neighbours = pair_windows((height, width), offset)
        if affinity.shape != total[:, *pixels].shape:
            raise ValueError(
                f"affinities of offset {offset}: expected shape "
                f"{tuple(total[:, *pixels].shape)}, got {tuple(affinity.shape)}"
            )
        weight = affinity**sharpness
        total[:, *pixels] += weight
        total[:, *neighbours] += weight
        links.append((pixels, neighbours, weight))
    moves = [
        (here, there, (weight / total[:, *here]).unsqueeze(1))
        for pixels, neighbours, weight in links
        for here, there in ((pixels, neighbours), (neighbours, pixels))
        if weight.numel()
    ]
    stay = (1 / total).unsqueeze(1)
    for _ in range(steps):
        result = scores * stay
        for here, there, weight in moves:
            result[:, :, *here].addcmul_(scores[:, :, *there], weight)
        scores = result
    return scores
