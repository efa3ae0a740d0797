"""Slot `tap_scale`: standardisation of each channel of the frozen features.

The statistics are stored and saved with the adapter, the only component that uses the taps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weakclip.clip.tower import Features
    from weakclip.network.pyramid import Pyramid

SMALLEST = 1e-6  # lower bound of the standard deviation, for constant channels


class StandardisedTaps(nn.Module):
    """An adapter with standardisation of its input taps."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, levels: int, width: int, adapter: nn.Module) -> None:
        """Start with mean 0 and standard deviation 1, which change nothing.

        Args:
            levels: Number of taps.
            width: Channels D of a tap.
            adapter: A module `adapter(taps) -> pyramid`.
        """
        super().__init__()
        self.register_buffer("mean", torch.zeros(levels, width, 1, 1))
        self.register_buffer("deviation", torch.ones(levels, width, 1, 1))
        self.adapter = adapter

    def forward(self, taps: tuple[Tensor, ...]) -> Pyramid:
        """The pyramid of the standardised taps, each tap (B, D, h, w)."""
        pyramid: Pyramid = self.adapter(self.standard(taps))
        return pyramid

    def standard(self, taps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The standardised taps."""
        return tuple(
            (tap - mean) / deviation
            for tap, mean, deviation in zip(taps, self.mean, self.deviation, strict=True)
        )


def set_statistics(adapter: nn.Module, batches: Iterable[Features]) -> None:
    """Set the statistics of an adapter that standardises its taps; do nothing for any other.

    Args:
        adapter: Adapter of a network; changed in place.
        batches: Features of the training images; consumed only if statistics are needed.

    Raises:
        ValueError: If statistics are needed and there is no batch.
    """
    if isinstance(adapter, StandardisedTaps):
        mean, deviation = tap_statistics(batches)[..., None, None]
        adapter.mean.copy_(mean)
        adapter.deviation.copy_(deviation)


def tap_statistics(batches: Iterable[Features]) -> Tensor:
    """Mean and standard deviation of each channel of each tap over all cells of all images.

    Args:
        batches: Batches of features; sizes may differ between batches.

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
