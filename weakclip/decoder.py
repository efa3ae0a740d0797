"""Slot `decoder`: pyramid and score map become class logits on the finest level.

Every kind is a module `decoder(pyramid, score_map) -> logits`, at the size of level 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.adapter import Pyramid


class FPNDecoder(nn.Module):
    """Feature pyramid network and semantic head; some levels also get the score map.

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
            classes: Classes K with background.
            score_levels: Levels whose input is the score map beside the features; may be empty.
            channels: Channels inside the decoder.
            dropout: Rate at which whole channels are dropped before the classifier.
            score_scale: Factor of the score map where it joins the features.
            classifier_std: Standard deviation of the classifier's initial weights.
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
            pyramid: Four maps of D channels, finest first.
            score_map: Score map, (B, K, h, w); resized with align_corners true.

        Returns:
            Logits at the size of level 0, (B, K, 4h, 4w) for a full pyramid.
        """
        levels = list(pyramid)
        for index in self.score_levels:
            size = levels[index].shape[-2:]
            scores = F.interpolate(score_map, size, mode="bilinear", align_corners=True)
            levels[index] = torch.cat([levels[index], self.score_scale * scores], dim=1)
        logits: Tensor = self.head(self.neck(tuple(levels)))
        return logits


class ScoreMapUpsampling(nn.Module):
    """The score map over the temperature, resized to level 0; no weights."""

    def __init__(self, tau: float) -> None:
        """Remember the softmax temperature, in cosine units."""
        super().__init__()
        self.tau = tau

    def forward(self, pyramid: Pyramid, score_map: Tensor) -> Tensor:
        """Logits at the size of level 0."""
        size = pyramid[0].shape[-2:]
        return F.interpolate(score_map / self.tau, size, mode="bilinear", align_corners=False)


class FeaturePyramid(nn.Module):
    """1x1 laterals, top-down nearest up-sampling with addition, 3x3 outputs; no norms."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        """Initialise for levels of `in_channels` channels, finest first."""
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in in_channels)
        self.outputs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels
        )
        for layer in (*self.laterals, *self.outputs):
            _initialise_xavier(layer)

    def forward(self, levels: Pyramid) -> Pyramid:
        """The levels at the same sizes, (B, C, h_i, w_i), finest first."""
        merged = [layer(level) for layer, level in zip(self.laterals, levels, strict=True)]
        for index in range(len(merged) - 1, 0, -1):
            size = merged[index - 1].shape[-2:]
            merged[index - 1] = merged[index - 1] + F.interpolate(merged[index], size)
        return tuple(layer(level) for layer, level in zip(self.outputs, merged, strict=True))


class SemanticHead(nn.Module):
    """Per level convolutions and doublings up to level 0, summed, then a 1x1 classifier."""

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        """Initialise for four levels of `channels` channels."""
        super().__init__()
        self.scales = nn.ModuleList(
            nn.ModuleList(ConvBNReLU(channels) for _ in range(max(level, 1))) for level in range(4)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, classes, 1)
        nn.init.constant_(self.classifier.get_parameter("bias"), 0)

    def forward(self, levels: Pyramid) -> Tensor:
        """Logits at the size of level 0."""
        size = (levels[0].shape[2], levels[0].shape[3])
        total = torch.zeros_like(levels[0])
        for level, stages in zip(levels, self.scales, strict=True):
            total = total + _climb(level, stages, size)
        logits: Tensor = self.classifier(self.dropout(total))
        return logits


class ConvBNReLU(nn.Module):
    """3x3 convolution without bias, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        """Initialise for `channels` channels in and out."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        return F.relu(self.bn(self.conv(features)))


def _climb(features: Tensor, stages: nn.Module, size: tuple[int, int]) -> Tensor:
    """Run the stages of a level, doubling after each until `size`, and end exactly there.

    Sides that are no powers of two of each other (an odd grid was halved) are made to fit in a
    last resize, as in the release.
    """
    for stage in stages.children():
        features = stage(features)
        doubled = [
            min(2 * side, limit) for side, limit in zip(features.shape[2:], size, strict=True)
        ]
        features = _resize(features, (doubled[0], doubled[1]))
    return _resize(features, size)


def _resize(features: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(features.shape[2:]) == size:
        return features
    return F.interpolate(features, size, mode="bilinear", align_corners=False)


def _initialise_xavier(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        (nn.init.zeros_ if parameter.ndim == 1 else nn.init.xavier_uniform_)(parameter)
