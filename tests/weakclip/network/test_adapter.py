from __future__ import annotations

import pytest
import torch
from torch import nn

from weakclip.network.adapter import PyramidLayers, ResampledTaps, UnscaledTaps


@pytest.mark.parametrize("adapter", [PyramidLayers(6), ResampledTaps()])
@pytest.mark.parametrize(
    ("grid", "sizes"),
    [
        ((4, 6), [(16, 24), (8, 12), (4, 6), (2, 3)]),
        ((5, 3), [(20, 12), (10, 6), (5, 3), (2, 1)]),
        ((1, 2), [(4, 8), (2, 4), (1, 2), (1, 1)]),
    ],
)
def test_levels_have_the_pyramids_strides_and_the_taps_channels(
    adapter: nn.Module, grid: tuple[int, int], sizes: list[tuple[int, int]]
) -> None:
    levels = adapter(tuple(torch.randn(2, 6, *grid) for _ in range(4)))
    assert [tuple(level.features().shape) for level in levels] == [(2, 6, *size) for size in sizes]
    assert [level.size for level in levels] == sizes


def test_resampling_keeps_a_constant_and_pools_the_maximum() -> None:
    taps = (torch.full((1, 1, 2, 2), 3.0), *(torch.arange(4.0).view(1, 1, 2, 2),) * 3)
    levels = ResampledTaps()(taps)
    torch.testing.assert_close(levels[0].features(), torch.full((1, 1, 8, 8), 3.0))
    torch.testing.assert_close(levels[2].features(), taps[2])
    assert levels[3].features().item() == 3.0


def test_single_scale_leaves_the_taps_alone() -> None:
    taps = tuple(torch.randn(1, 2, 3, 3) for _ in range(4))
    levels = UnscaledTaps()(taps)
    assert all(level.features() is tap for level, tap in zip(levels, taps, strict=True))
