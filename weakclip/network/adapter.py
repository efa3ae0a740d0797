"""Slot `adapter`: four taps at the stride of the patches become a feature pyramid.

Every kind is a module `adapter(taps) -> pyramid`: four maps (B, D, h, w) in, four levels of D
channels out, finest first. Where a level ends in a linear step, that is left to its reader
(`weakclip/network/pyramid.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.network.pyramid import Deconvolved, Enlarged, Finished

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.network.pyramid import Pyramid

    Taps = tuple[Tensor, ...]


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

    def forward(self, taps: Taps) -> Pyramid:
        """The pyramid, (B, D, 4h, 4w), (B, D, 2h, 2w), (B, D, h, w), (B, D, h // 2, w // 2)."""
        return (
            self._finest(taps[0]),
            _deconvolved(self.level1[0](taps[1]), self.level1[1]),
            Finished(self.level2(taps[2])),
            Finished(_halve(self.level3(taps[3]))),
        )

    def _finest(self, tap: Tensor) -> Deconvolved:
        norm, first, batch_norm, gelu, last = self.level0
        doubled = _deconvolved(norm(tap), first).features()
        return _deconvolved(gelu(batch_norm(doubled)), last)


class ResampledTaps(nn.Module):
    """The taps resized bilinearly or max-pooled to the pyramid's strides; no weights."""

    def forward(self, taps: Taps) -> Pyramid:
        """The pyramid, (B, D, 4h, 4w), (B, D, 2h, 2w), (B, D, h, w), (B, D, h // 2, w // 2)."""
        return (
            Enlarged(taps[0], 4),
            Enlarged(taps[1], 2),
            Finished(taps[2]),
            Finished(_halve(taps[3])),
        )


class UnscaledTaps(nn.Module):
    """The taps as they are; no weights. The decoder then works at the stride of the patches."""

    def forward(self, taps: Taps) -> Pyramid:
        """The taps, four times (B, D, h, w)."""
        return tuple(Finished(tap) for tap in taps)


def _deconvolved(features: Tensor, layer: nn.Module) -> Deconvolved:
    return Deconvolved(features, layer.get_parameter("weight"), layer.get_parameter("bias"))


def _halve(level: Tensor) -> Tensor:
    # A side of one cell stays: a 2 x 2 window would leave nothing.
    return F.max_pool2d(level, (min(2, level.shape[2]), min(2, level.shape[3])))
