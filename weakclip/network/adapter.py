"""Slot `adapter`: turns four taps at patch stride into a feature pyramid.

Every kind is a module `adapter(taps) -> pyramid` from four maps (B, D, h, w) to four levels of D
channels, finest first. If the last step of a level is linear, the decoder applies it
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
    """Learned (de)convolutions to strides of 1/4, 1/2, 1 and 2 patches.

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
    """The taps unchanged; no weights. The decoder then works at the stride of the patches."""

    def forward(self, taps: Taps) -> Pyramid:
        """The four taps, each (B, D, h, w)."""
        return tuple(Finished(tap) for tap in taps)


def _deconvolved(features: Tensor, layer: nn.Module) -> Deconvolved:
    return Deconvolved(features, layer.get_parameter("weight"), layer.get_parameter("bias"))


def _halve(level: Tensor) -> Tensor:
    # A side of one cell is kept: a 2 x 2 window would leave no cell.
    return F.max_pool2d(level, (min(2, level.shape[2]), min(2, level.shape[3])))
