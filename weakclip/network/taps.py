"""Standardised taps: every channel of the frozen features at mean 0 and deviation 1.

The taps of a small tower have channels whose mean is several times their deviation; a decoder
without norms hardly trains on them (`docs/log.md`). The statistics need no labels. They are held
in front of the adapter, the only part that sees the taps, and are saved with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weakclip.clip.tower import Features
    from weakclip.network.pyramid import Pyramid

SMALLEST = 1e-6  # deviation of a channel that never changes


class StandardisedTaps(nn.Module):
    """An adapter whose taps are standardised first."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, statistics: Tensor, adapter: nn.Module) -> None:
        """Hold the statistics in front of an adapter.

        Args:
            statistics: Mean and deviation of the channels of four taps, (2, 4, D).
            adapter: A module `adapter(taps) -> pyramid`.
        """
        super().__init__()
        self.register_buffer("mean", statistics[0, :, :, None, None])
        self.register_buffer("deviation", statistics[1, :, :, None, None])
        self.adapter = adapter

    def forward(self, taps: tuple[Tensor, ...]) -> Pyramid:
        """The pyramid of the standardised taps, each tap (B, D, h, w)."""
        standard = tuple(
            (tap - mean) / deviation
            for tap, mean, deviation in zip(taps, self.mean, self.deviation, strict=True)
        )
        pyramid: Pyramid = self.adapter(standard)
        return pyramid


def tap_statistics(batches: Iterable[Features]) -> Tensor:
    """Mean and deviation of every channel of every tap over all cells of all images.

    Args:
        batches: Features of the images, some at a time; sizes may differ.

    Returns:
        (2, 4, D), float32, on the device of the features.

    Raises:
        ValueError: If there is no batch.
    """
    moments: Tensor | None = None
    for features in batches:
        sums = [
            torch.stack([torch.ones_like(cells), cells, cells.square()]).sum(dim=(1, 3, 4))
            for cells in (tap.double() for tap in features.taps)
        ]
        batch = torch.stack(sums, dim=1)  # (3, 4, D): count, sum, sum of squares
        moments = batch if moments is None else moments + batch
    if moments is None:
        raise ValueError("tap statistics: expected one image or more, got none")
    count, total, squares = moments
    mean = total / count
    variance = (squares - count * mean.square()) / (count - 1).clamp(min=1)
    return torch.stack([mean, variance.clamp(min=0).sqrt().clamp(min=SMALLEST)]).float()
