from __future__ import annotations

import pytest
import torch

from weakclip.ops.cam import grad_cam, normalise_cam, present_softmax


def test_absent_classes_take_no_probability() -> None:
    logits = torch.tensor([[2.0, 50.0, 1.0]])  # two classes, one background text
    chance = present_softmax(logits, torch.tensor([[True, False]]))
    expected = torch.tensor([2.0, 1.0]).softmax(0)[0]
    assert chance[0].tolist() == pytest.approx([float(expected), 0.0])


def test_an_image_without_tags_or_background_gives_zeros() -> None:
    chance = present_softmax(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    assert chance.tolist() == [[0.0, 0.0]]


def test_a_constant_map_becomes_zero_and_any_other_fills_the_range() -> None:
    cam = torch.stack([torch.full((2, 2), 3.0), torch.tensor([[0.0, 1.0], [2.0, 4.0]])])
    normal = normalise_cam(cam)
    assert normal[0].abs().max() == 0
    assert normal[1].flatten().tolist() == pytest.approx([0, 0.25, 0.5, 1], abs=1e-6)


def test_grad_cam_of_many_pairs_equals_one_at_a_time() -> None:
    torch.manual_seed(0)
    tokens, weight = torch.randn(3, 5, 4), torch.randn(2, 4)
    pairs = torch.tensor([[0, 0], [0, 1], [2, 1]])

    def score(activations: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        pooled = activations.pow(2).mean(dim=1)
        return torch.einsum("pc,pc->p", pooled, weight[pairs[:, 1]])

    together = grad_cam(score, tokens, pairs)
    for row, (image, label) in enumerate(pairs.tolist()):
        leaf = tokens[image : image + 1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad((leaf.pow(2).mean(dim=1) @ weight[label]).sum(), leaf)
        alpha = gradient[0, 1:].mean(dim=0)
        expected = (leaf.detach()[0, 1:] @ alpha).relu()
        assert torch.allclose(together[row], expected, atol=1e-6)


def test_a_linear_readout_makes_grad_cam_the_cam_over_the_number_of_patches() -> None:
    torch.manual_seed(1)
    tokens, weight = torch.randn(1, 7, 3), torch.randn(3)
    maps = grad_cam(lambda a, _: a[:, 1:].mean(dim=1) @ weight, tokens, torch.tensor([[0, 0]]))
    assert torch.allclose(maps[0], (tokens[0, 1:] @ weight / 6).relu(), atol=1e-6)


def test_a_map_without_positive_gradient_is_zero() -> None:
    activations = torch.rand(1, 5, 4)
    maps = grad_cam(lambda a, _: -a.sum(dim=(1, 2)), activations, torch.tensor([[0, 0]]))
    assert not maps.any()
