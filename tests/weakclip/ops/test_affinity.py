from __future__ import annotations

import pytest
import torch

from weakclip.ops.affinity import box_mask, sinkhorn_affinity, spread


def test_the_affinity_is_symmetric_and_nearly_doubly_stochastic() -> None:
    torch.manual_seed(0)
    attention = torch.rand(2, 9, 9) + 0.1
    affinity = sinkhorn_affinity(attention, rounds=20, power=1)
    assert torch.allclose(affinity, affinity.transpose(1, 2))
    assert torch.allclose(affinity.sum(dim=1), torch.ones(2, 9), atol=1e-4)


def test_a_power_multiplies_the_matrix_by_itself() -> None:
    attention = torch.rand(1, 4, 4) + 0.1
    once = sinkhorn_affinity(attention, power=1)
    assert torch.allclose(sinkhorn_affinity(attention, power=3), once @ once @ once)


def test_the_attention_is_left_as_it_was_and_large_grids_are_worked_on_in_parts() -> None:
    attention = torch.rand(1, 600, 600, generator=torch.Generator().manual_seed(0)) + 0.1
    kept = attention.clone()
    affinity = sinkhorn_affinity(attention, rounds=1, power=1)
    assert torch.equal(attention, kept)
    normal = kept / kept.sum(dim=1, keepdim=True)
    normal = normal / normal.sum(dim=2, keepdim=True)
    assert torch.equal(affinity, (normal + normal.transpose(1, 2)) / 2)


def test_boxes_surround_each_region_apart() -> None:
    cam = torch.zeros(1, 5, 6)
    cam[0, 0, 0] = cam[0, 1, 1] = 1.0  # touch at a corner: one region
    cam[0, 3, 4] = 0.9
    cam[0, 4, 2] = 0.3  # below the threshold
    expected = torch.zeros(5, 6, dtype=torch.bool)
    expected[0:2, 0:2] = True
    expected[3, 4] = True
    assert torch.equal(box_mask(cam)[0], expected)


def test_the_release_drops_the_last_row_and_column() -> None:
    cam = torch.ones(1, 3, 3)
    cam[0, 0, 0] = 0
    whole, released = box_mask(cam)[0], box_mask(cam, trim_last=True)[0]
    assert whole.all()
    assert int(released.sum()) == 4
    assert released[:2, :2].all()


def test_a_map_of_zeros_has_no_box() -> None:
    assert not box_mask(torch.zeros(1, 3, 3)).any()


def test_spreading_step_by_step_is_multiplying_by_the_power() -> None:
    torch.manual_seed(0)
    attention, sources = torch.rand(2, 9, 9) + 0.1, torch.rand(2, 9)
    power = sinkhorn_affinity(attention, power=3)
    expected = (power @ sources.unsqueeze(2)).squeeze(2)
    once = sinkhorn_affinity(attention, power=1)
    for image in range(2):
        carried = spread(once[image], sources[image : image + 1], power=3)
        assert torch.allclose(carried[0], expected[image], atol=1e-6)


def test_the_affinity_carries_a_constant_to_a_constant() -> None:
    torch.manual_seed(0)
    affinity = sinkhorn_affinity((torch.rand(1, 12, 12) + 0.1).double(), rounds=100, power=1)
    carried = spread(affinity[0], torch.ones(1, 12).double())
    assert torch.allclose(carried, torch.ones(1, 12).double(), atol=1e-6)


def test_rows_sum_as_the_last_normalisation_says_and_columns_come_closer() -> None:
    torch.manual_seed(0)
    attention = (torch.rand(1, 10, 10) + 0.01).double()
    residues = []
    for rounds in (1, 2, 3, 6):
        symmetric = sinkhorn_affinity(attention, rounds=rounds, power=1)
        residues.append(float((symmetric.sum(dim=2) - 1).abs().max()))
    assert residues == sorted(residues, reverse=True)
    assert residues[-1] < 1e-4


def test_the_releases_boxes_on_a_grid_of_six_by_eight() -> None:
    cam = torch.zeros(4, 6, 8)
    cam[0, 2:6, 3:8] = 1
    cam[1] = 1
    cam[2, 5, 7] = 1
    mask = box_mask(cam, trim_last=True)
    expected = torch.zeros(6, 8, dtype=torch.bool)
    expected[2:5, 3:7] = True
    assert torch.equal(mask[0], expected)
    assert [int(each.sum()) for each in mask[1:]] == [35, 0, 0]


@pytest.mark.parametrize(("threshold", "level"), [(0.4, 101), (0.7, 177)])
def test_the_threshold_is_a_cut_integer_and_strict(threshold: float, level: int) -> None:
    cam = torch.zeros(1, 1, 3)
    cam[0, 0] = torch.tensor([254.5, level + 0.5, level + 1.5]) / 255
    kept = box_mask(cam[:, :, [0, 1]], threshold=threshold)
    assert kept.tolist() == [[[True, False]]]
    assert box_mask(cam[:, :, [0, 2]], threshold=threshold).all()
