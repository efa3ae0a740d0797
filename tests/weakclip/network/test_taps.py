from __future__ import annotations

import pytest
import torch
from torch import nn

from weakclip.clip.tower import Features
from weakclip.network.taps import StandardisedTaps, tap_statistics


def features(count: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    taps = tuple(
        level + 3 * torch.randn(count, 5, 2 + seed, 3, generator=generator) for level in range(4)
    )
    return Features(taps, torch.zeros(count, 2), torch.zeros(count, 2, 2, 3))


def test_statistics_are_those_of_all_cells_of_all_images() -> None:
    batches = [features(2, 0), features(3, 1)]
    mean, deviation = tap_statistics(batches)
    for level in range(4):
        cells = torch.cat(
            [batch.taps[level].transpose(0, 1).flatten(1) for batch in batches], dim=1
        )
        torch.testing.assert_close(mean[level], cells.mean(dim=1))
        torch.testing.assert_close(deviation[level], cells.std(dim=1))
    with pytest.raises(ValueError, match="got none"):
        tap_statistics([])


def test_the_adapter_sees_mean_0_and_deviation_1() -> None:
    batch = features(4, 2)
    module = StandardisedTaps(tap_statistics([batch]), nn.Identity())
    for tap in module(batch.taps):
        cells = tap.transpose(0, 1).flatten(1)
        torch.testing.assert_close(cells.mean(dim=1), torch.zeros(5), atol=1e-6, rtol=0)
        torch.testing.assert_close(cells.std(dim=1), torch.ones(5))
    assert set(module.state_dict()) == {"mean", "deviation"}


def test_a_channel_that_never_changes_stays_finite() -> None:
    batch = Features((torch.ones(1, 1, 2, 2),) * 4, torch.zeros(1, 1), torch.zeros(1, 1, 2, 2))
    module = StandardisedTaps(tap_statistics([batch]), nn.Identity())
    assert not torch.stack(module(batch.taps)).any()
