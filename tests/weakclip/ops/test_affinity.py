from __future__ import annotations

import torch

from weakclip.ops.affinity import box_mask, sinkhorn_affinity


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
