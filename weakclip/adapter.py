"""Slot `adapter`: four taps at the stride of the patches become a feature pyramid.

Every kind is a module `adapter(taps) -> levels`: four maps (B, D, h, w) in, four maps of D
channels out, finest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

if TYPE_CHECKING:
    from torch import Tensor

Pyramid = tuple["Tensor", ...]
"""Four maps, finest first: strides 4, 8, 16, 32 for patches of 16."""


class PyramidLayers(nn.Module):
    """Learned (de)convolutions to a quarter, a half, one and two patch strides.

    References:
        Zhu et al. 2025, pyramid adapter; GroupNorm has one group, all levels keep D channels.
    """

    def __init__(self, channels: int) -> None:
        """Initialise the layers for taps of `channels` channels."""
        super().__init__()
        self.level0 = nn.Sequential(
            nn.GroupNorm(1, channels),
            nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2),
        )
        self.level1 = nn.Sequential(
            nn.GroupNorm(1, channels),
            nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2),
        )
        self.level2 = nn.GroupNorm(1, channels)
        self.level3 = nn.GroupNorm(1, channels)

    def forward(self, taps: Pyramid) -> Pyramid:
        """The pyramid, (B, D, 4h, 4w), (B, D, 2h, 2w), (B, D, h, w), (B, D, h // 2, w // 2)."""
        return (
            self.level0(taps[0]),
            self.level1(taps[1]),
            self.level2(taps[2]),
            _halve(self.level3(taps[3])),
        )


class ResampledTaps(nn.Module):
    """The taps resized bilinearly or max-pooled to the pyramid's strides; no weights."""

    def forward(self, taps: Pyramid) -> Pyramid:
        """The pyramid, (B, D, 4h, 4w), (B, D, 2h, 2w), (B, D, h, w), (B, D, h // 2, w // 2)."""
        return (_enlarge(taps[0], 4), _enlarge(taps[1], 2), taps[2], _halve(taps[3]))


class UnscaledTaps(nn.Module):
    """The taps as they are; no weights. The decoder then works at the stride of the patches."""

    def forward(self, taps: Pyramid) -> Pyramid:
        """The taps, four times (B, D, h, w)."""
        return taps


def _halve(level: Tensor) -> Tensor:
    # A side of one cell stays: a 2 x 2 window would leave nothing.
    return F.max_pool2d(level, (min(2, level.shape[2]), min(2, level.shape[3])))


def _enlarge(level: Tensor, factor: int) -> Tensor:
    return F.interpolate(level, scale_factor=factor, mode="bilinear", align_corners=False)
