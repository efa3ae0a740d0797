from __future__ import annotations

import pytest
import torch

from weakclip.labels import IGNORE
from weakclip.ops.seed import otsu_band, seed_from_cam


def test_a_two_by_two_map_by_hand() -> None:
    cam = torch.tensor([[[[0.9, 0.1], [0.5, 0.0]], [[0.2, 0.1], [0.4, 0.8]]]])
    seeds = seed_from_cam(cam, (2, 2), torch.tensor([0.2]), torch.tensor([0.7]))
    assert seeds.tolist() == [[[1, 0], [IGNORE, 2]]]


def test_an_image_without_evidence_is_background() -> None:
    seeds = seed_from_cam(torch.zeros(1, 3, 2, 2), (4, 4), torch.zeros(1), torch.zeros(1))
    assert not seeds.any()


def test_crossed_thresholds_are_refused() -> None:
    with pytest.raises(ValueError, match="low <= high"):
        seed_from_cam(torch.zeros(1, 1, 2, 2), (2, 2), torch.tensor([0.6]), torch.tensor([0.5]))


def test_more_classes_than_labels_and_maps_of_no_numbers_are_refused() -> None:
    band = (torch.tensor([0.2]), torch.tensor([0.6]))
    cam = torch.zeros(1, 254, 1, 1)
    cam[:, -1] = 1
    assert seed_from_cam(cam, (1, 1), *band).item() == 254
    with pytest.raises(ValueError, match="at most 254 classes, as 255 means undecided, got 255"):
        seed_from_cam(torch.zeros(1, 255, 1, 1), (1, 1), *band)
    with pytest.raises(ValueError, match="expected finite maps, got NaN or infinity"):
        seed_from_cam(cam * float("nan"), (1, 1), *band)


def test_otsu_splits_two_clear_groups_and_the_band_reaches_their_means() -> None:
    values = torch.tensor([0.1] * 30 + [0.9] * 10).view(1, 1, 4, 10)
    low, high = otsu_band(values, width=0.0)
    assert 0.1 < float(low) <= 0.9
    assert float(low) == float(high)
    low, high = otsu_band(values, width=1.0)
    assert float(low) == pytest.approx(0.1, abs=1 / 64)
    assert float(high) == pytest.approx(0.9, abs=1 / 64)


def test_the_band_is_per_image() -> None:
    cam = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    low, high = otsu_band(cam, width=0.5)
    alone = otsu_band(cam[1:2], width=0.5)
    assert float(low[1]) == float(alone[0])
    assert float(high[1]) == float(alone[1])
    assert bool((low <= high).all())
