"""Slot `decoder`: turns pyramid and score map into class logits at the finest level.

Every kind is a module `decoder(pyramid, score_map) -> logits`, at the size of level 0.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.network.pyramid import Finished, Joined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from weakclip.network.pyramid import Level, Pyramid

    Maps = tuple[Tensor, ...]


class FPNDecoder(nn.Module):
    """Feature pyramid network and semantic head; the score map is an extra input of some levels.

    References:
        Zhu et al. 2025, text-guided decoder; Lin et al., "Feature Pyramid Networks", CVPR 2017;
        Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        score_levels: Sequence[int],
        channels: int,
        dropout: float,
        score_scale: float = 1.0,
        classifier_std: float = 0.01,
    ) -> None:
        """Initialise the layers.

        Args:
            in_channels: Channels D of the pyramid.
            classes: Number K of classes, background included.
            score_levels: Levels at which the score map is concatenated; may be empty.
            channels: Channels inside the decoder.
            dropout: Probability of dropping a channel before the classifier.
            score_scale: Factor on the score map before concatenation.
            classifier_std: Standard deviation of the classifier's weight initialisation.
        """
        super().__init__()
        self.score_levels = tuple(score_levels)
        self.score_scale = score_scale
        widths = [in_channels + classes * (level in self.score_levels) for level in range(4)]
        self.neck = FeaturePyramid(widths, channels)
        self.head = SemanticHead(channels, classes, dropout)
        nn.init.normal_(self.head.classifier.weight, std=classifier_std)

    def forward(self, pyramid: Pyramid, score_map: Tensor) -> Tensor:
        """Class logits.

        Args:
            pyramid: Four levels of D channels, finest first.
            score_map: Score map, (B, K, h, w); resized with align_corners true.

        Returns:
            Logits at the size of level 0, (B, K, 4h, 4w) for a full pyramid.
        """
        levels: list[Level | Joined] = list(pyramid)
        for index in self.score_levels:
            level = pyramid[index]
            scores = F.interpolate(score_map, level.size, mode="bilinear", align_corners=True)
            levels[index] = Joined((level, Finished(self.score_scale * scores)))
        logits: Tensor = self.head(self.neck(levels))
        return logits


class ScoreMapUpsampling(nn.Module):
    """The score map divided by the temperature, resized to level 0; no weights."""

    def __init__(self, tau: float) -> None:
        """Store the softmax temperature, in cosine units."""
        super().__init__()
        self.tau = tau

    def forward(self, pyramid: Pyramid, score_map: Tensor) -> Tensor:
        """Logits at the size of level 0."""
        size = pyramid[0].size
        return F.interpolate(score_map / self.tau, size, mode="bilinear", align_corners=False)


class FeaturePyramid(nn.Module):
    """1x1 lateral convolutions, top-down addition (nearest), 3x3 output convolutions; no norms."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        """Initialise for levels of `in_channels` channels, finest first."""
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in in_channels)
        self.outputs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels
        )
        for layer in (*self.laterals, *self.outputs):
            _initialise_xavier(layer)

    def forward(self, levels: Sequence[Level | Joined]) -> Maps:
        """Maps of the levels' sizes, (B, C, h_i, w_i), finest first."""
        merged = [
            level.project(layer.get_parameter("weight"), layer.get_parameter("bias"))
            for layer, level in zip(self.laterals, levels, strict=True)
        ]
        for index in range(len(merged) - 1, 0, -1):
            size = merged[index - 1].shape[-2:]
            merged[index - 1] = merged[index - 1] + F.interpolate(merged[index], size)
        return tuple(layer(level) for layer, level in zip(self.outputs, merged, strict=True))


class SemanticHead(nn.Module):
    """Convolutions and 2x up-samplings of each level up to level 0, their sum, a 1x1 classifier.

    The classifier is linear, as are up-sampling, sum and channel dropout. It is therefore applied
    before the last up-sampling of a level, which then enlarges K channels instead of C.
    """

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        """Initialise for four levels of `channels` channels."""
        super().__init__()
        self.scales = nn.ModuleList(
            nn.ModuleList(ConvBNReLU(channels) for _ in range(max(level, 1))) for level in range(4)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, classes, 1)
        nn.init.constant_(self.classifier.get_parameter("bias"), 0)

    def forward(self, levels: Maps) -> Tensor:
        """Logits at the size of level 0, (B, K, h_0, w_0), from four maps (B, C, h_i, w_i)."""
        size = (levels[0].shape[2], levels[0].shape[3])
        channels = self.dropout(levels[0].new_ones(*levels[0].shape[:2], 1, 1)).flatten(1)
        weight = self.classifier.weight.flatten(1) * channels.unsqueeze(1)  # (B, K, C)
        bias = self.classifier.get_parameter("bias").view(-1, 1, 1)
        return sum(
            (
                _climb(level, stages, partial(_classify, weight), size)
                for level, stages in zip(levels, self.scales, strict=True)
            ),
            start=bias,
        )


class ConvBNReLU(nn.Module):
    """3x3 convolution without bias, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        """Initialise for `channels` input and output channels."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        return F.relu(self.bn(self.conv(features)))


def _climb(
    features: Tensor,
    stages: nn.Module,
    classify: Callable[[Tensor], Tensor],
    size: tuple[int, int],
) -> Tensor:
    """Logits of a level at `size`: run its stages with a 2x up-sampling after each.

    The last resize corrects sides that are not powers of two times each other (the halving of an
    odd grid), as in the release.
    """
    *early, last = stages.children()
    for stage in early:
        features = _double(stage(features), size)
    return _resize(_double(classify(last(features)), size), size)


def _classify(weight: Tensor, features: Tensor) -> Tensor:
    """1x1 convolution of images (B, C, h, w) with separate weights per image, (B, K, C)."""
    cells = torch.bmm(features.permute(0, 2, 3, 1).flatten(1, 2), weight.transpose(1, 2))
    return torch.unflatten(cells.transpose(1, 2), 2, features.shape[2:])


def _double(features: Tensor, limit: tuple[int, int]) -> Tensor:
    height, width = (
        min(2 * side, most) for side, most in zip(features.shape[2:], limit, strict=True)
    )
    return _resize(features, (height, width))


def _resize(features: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(features.shape[2:]) == size:
        return features
    return F.interpolate(features, size, mode="bilinear", align_corners=False)


def _initialise_xavier(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        (nn.init.zeros_ if parameter.ndim == 1 else nn.init.xavier_uniform_)(parameter)
