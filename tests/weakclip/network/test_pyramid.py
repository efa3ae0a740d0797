from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from weakclip.network.pyramid import Deconvolved, Enlarged, Finished, Joined

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.network.pyramid import Level

D, C = 6, 4  # channels of the level, and of the 1x1 convolution


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def source() -> Tensor:
    return random(2, 5, 3, 2)


def deconvolution() -> tuple[Tensor, Tensor]:
    return random(5, D, 2, 2, seed=1), random(D, seed=2)


def levels() -> list[tuple[Level | Joined, Tensor]]:
    """Levels, and what torch's own layers make of the same weights."""
    kernel, bias = deconvolution()
    deconvolved = F.conv_transpose2d(source(), kernel, bias, stride=2)
    enlarged = F.interpolate(source(), scale_factor=2.0, mode="bilinear", align_corners=False)
    scores = random(2, 3, 6, 4, seed=5)
    return [
        (Finished(source()), source()),
        (Enlarged(source(), 2), enlarged),
        (Deconvolved(source(), kernel, bias), deconvolved),
        (
            Joined((Deconvolved(source(), kernel, bias), Finished(scores))),
            torch.cat([deconvolved, scores], dim=1),
        ),
    ]


@pytest.mark.parametrize("index", range(4))
def test_a_level_is_what_its_layers_give(index: int) -> None:
    level, expected = levels()[index]
    assert level.size == expected.shape[2:]
    torch.testing.assert_close(level.features(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("index", range(4))
def test_the_convolution_of_a_level_is_that_of_its_features(index: int) -> None:
    level, expected = levels()[index]
    weight, bias = random(C, expected.shape[1], 1, 1, seed=3), random(C, seed=4)
    torch.testing.assert_close(
        level.project(weight, bias), F.conv2d(expected, weight, bias), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(
        level.project(weight, None), F.conv2d(expected, weight), rtol=1e-10, atol=1e-10
    )


def test_a_merged_deconvolution_has_the_gradients_of_both_layers() -> None:
    inputs = (source(), *deconvolution(), random(C, D, 1, 1, seed=3), random(C, seed=4))
    features, kernel, shift, weight, bias = inputs
    merged = Deconvolved(features, kernel, shift).project(weight, bias)
    apart = F.conv2d(F.conv_transpose2d(features, kernel, shift, stride=2), weight, bias)
    rates = random(*apart.shape, seed=6).detach()
    mine, theirs = (torch.autograd.grad(output, inputs, rates) for output in (merged, apart))
    for gradient, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)
