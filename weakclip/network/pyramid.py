"""Levels of a feature pyramid whose last linear step is deferred to the decoder.

An adapter ends with a linear step (a deconvolution or up-sampling), and a decoder begins with a 1x1
convolution, with nothing in between. So the adapter passes on its features before that step, and
the decoder merges both: 256 channels are enlarged instead of 768. At paper size this saves an
eighth of the operations of a training step (`docs/performance.md`).

Results are channels-last in memory, which is what matrix products produce and what is fastest for
oneDNN's convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Finished:
    """A level whose features are complete."""

    source: Tensor
    """Features, (B, D, h, w)."""

    @property
    def channels(self) -> int:
        """Channels D of the features."""
        return self.source.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the features."""
        return (self.source.shape[2], self.source.shape[3])

    def features(self) -> Tensor:
        """The level, (B, D, h, w)."""
        return self.source

    def project(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """1x1 convolution of the level, (B, C, h, w); weight (C, D, 1, 1), bias (C,) or None."""
        return _pointwise(self.source, weight, bias)


@dataclass(frozen=True, slots=True)
class Enlarged:
    """A level that is to be up-sampled bilinearly (align_corners false)."""

    source: Tensor
    """Features, (B, D, h, w)."""
    factor: int

    @property
    def channels(self) -> int:
        """Channels D of the features."""
        return self.source.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the features after up-sampling."""
        return (self.factor * self.source.shape[2], self.factor * self.source.shape[3])

    def features(self) -> Tensor:
        """The level, (B, D, factor h, factor w)."""
        return F.interpolate(self.source, self.size, mode="bilinear", align_corners=False)

    def project(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """1x1 convolution of the level, before up-sampling; equal, as weights sum to 1."""
        return Enlarged(_pointwise(self.source, weight, bias), self.factor).features()


@dataclass(frozen=True, slots=True)
class Deconvolved:
    """A level that is to be deconvolved; each cell becomes a separate block."""

    source: Tensor
    """Features before the deconvolution, (B, I, h, w)."""
    weight: Tensor
    """Kernel, (I, D, n, n), with a stride of n."""
    bias: Tensor
    """Bias, (D,)."""

    @property
    def channels(self) -> int:
        """Channels D of the deconvolved features."""
        return self.weight.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the features after the deconvolution."""
        rows, columns = self.source.shape[2:]
        return (rows * self.weight.shape[2], columns * self.weight.shape[3])

    def features(self) -> Tensor:
        """The level, (B, D, n h, n w)."""
        return _deconvolve(self.source, self.weight, self.bias)

    def project(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """1x1 convolution of the level: one deconvolution with the product of both kernels."""
        matrix = weight.flatten(1)
        kernel = torch.einsum("idnm,cd->icnm", self.weight, matrix)
        return _deconvolve(self.source, kernel, F.linear(self.bias, matrix, bias))


Level: TypeAlias = Finished | Enlarged | Deconvolved
Pyramid = tuple[Level, ...]
"""Four levels of D channels, finest first: strides 4, 8, 16, 32 for patches of 16."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Levels of one size, concatenated along the channels."""

    parts: Sequence[Level]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the features."""
        return self.parts[0].size

    def features(self) -> Tensor:
        """The channels of all parts, concatenated in order."""
        return torch.cat([part.features() for part in self.parts], dim=1)

    def project(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """1x1 convolution of all channels, as the sum of the parts' convolutions."""
        first, *others = torch.split(weight, [part.channels for part in self.parts], dim=1)
        total = self.parts[0].project(first, bias)
        for part, share in zip(self.parts[1:], others, strict=True):
            total = total + part.project(share, None)
        return total


def _pointwise(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """1x1 convolution as one matrix product over all cells."""
    return F.linear(features.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def _deconvolve(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Deconvolution with stride = kernel size, as a matrix product: its blocks do not overlap."""
    _, channels, rows, columns = weight.shape
    matrix = weight.permute(2, 3, 1, 0).flatten(0, 2)
    cells = F.linear(features.permute(0, 2, 3, 1), matrix, bias.repeat(rows * columns))
    blocks = torch.unflatten(cells, -1, (rows, columns, channels))  # (B, h, w, n, n, D)
    return blocks.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
