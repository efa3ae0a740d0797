from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from torch.nn import functional as F  # noqa: N812

from weakclip.config import CrossEntropy, SeedAndBoundary
from weakclip.crf.dense import WEAKCLIP_TRAIN, build_lattices
from weakclip.network.matching import Matched
from weakclip.network.model import Output
from weakclip.training.losses import (
    boundary_loss,
    build_supervision,
    class_probabilities,
    images_on_grid,
    logits_on_grid,
    matching_loss,
    refine,
    seeded_cross_entropy,
    seeding_loss,
    seeds_on_grid,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=generator(0), requires_grad=True)


@pytest.fixture
def grid_images() -> Tensor:
    return torch.randint(0, 256, (2, 3, 8, 8), generator=generator(1), dtype=torch.uint8)


def test_seeding_by_hand() -> None:
    # One image: two background pixels (p 0.5, 0.25), one foreground pixel (p 0.2), one undecided.
    probabilities = torch.tensor(
        [[0.5, 0.25, 0.2, 0.1], [0.3, 0.55, 0.6, 0.1], [0.2, 0.2, 0.2, 0.8]]
    )
    logits = probabilities.log().view(1, 3, 2, 2)
    seeds = torch.tensor([[[0, 0], [2, 255]]])
    expected = -(math.log(0.5) + math.log(0.25)) / 2 - math.log(0.2)
    assert seeding_loss(logits, seeds).item() == pytest.approx(expected, rel=1e-5)


def test_seeding_balances_images_not_pixels(logits: Tensor) -> None:
    seeds = torch.full((2, 8, 8), 255)
    seeds[0] = 1
    seeds[1, 0, 0] = 1
    alone = [seeding_loss(logits[i : i + 1], seeds[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(seeding_loss(logits, seeds), (alone[0] + alone[1]) / 2)


def test_seeding_of_nothing_is_zero_and_has_a_gradient_of_zero(logits: Tensor) -> None:
    loss = seeding_loss(logits, torch.full((2, 8, 8), 255))
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_boundary_pulls_to_the_refinement_and_not_back(logits: Tensor, grid_images: Tensor) -> None:
    refined = refine(class_probabilities(logits), grid_images, WEAKCLIP_TRAIN)
    assert not refined.requires_grad
    torch.testing.assert_close(refined.sum(1), torch.ones(2, 8, 8))
    loss = boundary_loss(logits, grid_images, WEAKCLIP_TRAIN)
    probabilities = class_probabilities(logits)
    ratio = (refined / probabilities).clamp(0.05, 20)
    torch.testing.assert_close(loss, (refined * ratio.log()).sum(1).mean())
    assert boundary_loss(refined.log(), grid_images, WEAKCLIP_TRAIN) < loss


def test_boundary_is_the_same_with_kept_lattices(logits: Tensor, grid_images: Tensor) -> None:
    lattices = build_lattices(grid_images, WEAKCLIP_TRAIN)
    expected = boundary_loss(logits, grid_images, WEAKCLIP_TRAIN)
    torch.testing.assert_close(
        boundary_loss(logits, grid_images, WEAKCLIP_TRAIN, lattices), expected
    )
    kept = [lattices[image] for image in range(2)]
    torch.testing.assert_close(boundary_loss(logits, grid_images, WEAKCLIP_TRAIN, kept), expected)


def test_matching_counts_undecided_pixels_as_zero() -> None:
    scores = torch.randn(1, 3, 4, 4, generator=generator(2))
    seeds = torch.full((1, 4, 4), 255)
    seeds[0, 0, 0] = 2
    expected = F.cross_entropy(scores[:, :, 0, 0] / 0.5, seeds[:, 0, 0]) / 16
    torch.testing.assert_close(matching_loss(scores, seeds, tau=0.5), expected)


def test_cross_entropy_counts_seeds_only() -> None:
    logits = torch.randn(1, 3, 4, 4, generator=generator(3))
    seeds = torch.full((1, 8, 8), 255)
    assert seeded_cross_entropy(logits, seeds).item() == 0
    seeds[0, 2:4, 5] = 1
    resized = F.interpolate(logits, (8, 8), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(resized, seeds, ignore_index=255)
    torch.testing.assert_close(seeded_cross_entropy(logits, seeds), expected)


def test_probabilities_stay_above_zero() -> None:
    probabilities = class_probabilities(torch.tensor([[0.0, 1000.0]]))
    assert 0 < probabilities[0, 0].item() < 2e-7
    torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0))


def test_images_on_the_grid_are_scipys_zoom() -> None:
    pixels = torch.rand(2, 3, 20, 29, generator=generator(4)).double() * 255
    mean, std = (torch.tensor(values).double().view(1, 3, 1, 1) for values in (MEAN, STD))
    zoomed = zoom(((pixels - mean) / std).numpy(), (1, 1, 8 / 20, 11 / 29), order=1)
    expected = (zoomed * std.numpy() + mean.numpy()).astype(np.uint8)
    ours = images_on_grid((pixels - mean) / std, (8, 11), mean=MEAN, std=STD).numpy()
    assert np.abs(ours.astype(int) - expected.astype(int)).max() <= 1
    assert (ours == expected).mean() > 0.99


def test_seeds_on_the_grid_are_never_mixed() -> None:
    seeds = torch.tensor([[[0, 255, 7, 7], [255, 255, 7, 7]]])
    assert seeds_on_grid(seeds, (2, 2)).tolist() == [[[0, 7], [255, 7]]]
    assert logits_on_grid(torch.zeros(1, 2, 4, 4), (3, 5)).shape == (1, 2, 3, 5)


def make_output() -> Output:
    score_map = torch.rand(2, 3, 4, 4, generator=generator(5)) * 2 - 1
    dense = torch.zeros(2, 6, 4, 4)
    return Output(
        score_map=score_map.requires_grad_(),
        logits=torch.randn(2, 3, 16, 16, generator=generator(6), requires_grad=True),
        text_embeddings=torch.zeros(3, 6),
        matched=Matched(text=torch.zeros(2, 3, 6), dense=dense),
    )


def test_supervision_weighs_its_terms(grid_images: Tensor) -> None:
    output = make_output()
    seeds = torch.randint(0, 3, (2, 32, 32), generator=generator(7))
    spec = SeedAndBoundary(grid=8, seeding_weight=2.0, boundary_weight=3.0, matching_weight=4.0)
    terms = build_supervision(spec, 0.07)(output, seeds, grid_images)
    logits = logits_on_grid(output.logits, (8, 8))
    expected = {
        "seeding": 2 * seeding_loss(logits, seeds_on_grid(seeds, (8, 8))),
        "boundary": 3 * boundary_loss(logits, grid_images, spec.crf),
        "matching": 4 * matching_loss(output.score_map, seeds, tau=0.07),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


def test_plain_supervision_needs_no_images(grid_images: Tensor) -> None:
    output = make_output()
    seeds = torch.randint(0, 3, (2, 32, 32), generator=generator(7))
    terms = build_supervision(CrossEntropy(matching_weight=0.5), 0.07)(output, seeds, grid_images)
    torch.testing.assert_close(terms["cross_entropy"], seeded_cross_entropy(output.logits, seeds))
    matching = matching_loss(output.score_map, seeds, tau=0.07)
    torch.testing.assert_close(terms["matching"], 0.5 * matching)


def test_logits_at_the_size_of_the_images_are_bounded_without_moving_a_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds = torch.randint(0, 4, (3, 16, 16), generator=generator(5))
    seeds[seeds == 3] = 255
    found = []
    for bytes_ in (1 << 30, 4 * 3 * 16 * 16):  # all images together; one at a time
        monkeypatch.setattr("weakclip.training.losses.PIXEL_BYTES", bytes_)
        score_map = torch.randn(3, 3, 4, 4, generator=generator(6), requires_grad=True)
        loss = matching_loss(score_map, seeds, tau=0.07)
        kept = _saved_bytes(partial(matching_loss, score_map, seeds, tau=0.07))
        loss.backward()  # type: ignore[no-untyped-call]
        assert score_map.grad is not None
        found.append((loss.detach(), score_map.grad, kept))
    (loss, gradient, kept), (bounded_loss, bounded_gradient, bounded_kept) = found
    assert torch.equal(loss, bounded_loss)
    assert torch.equal(gradient, bounded_gradient)
    assert bounded_kept < kept / 2


def _saved_bytes(run: Callable[[], Tensor]) -> int:
    """Bytes of the tensors that are kept for the backward pass."""
    total = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return total
