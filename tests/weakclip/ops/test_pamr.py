from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from weakclip.ops.pamr import DILATIONS, PAMR_KERNEL, PAR_KERNEL, Kernel, pamr

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (2, 3, 11, 14), generator=GENERATOR, dtype=torch.uint8)
SCORES = torch.rand(2, 4, 11, 14, generator=GENERATOR)


RING = (2**0.5, 1, 2**0.5, 1, 1, 2**0.5, 1, 2**0.5)  # distances of the 8 neighbours, row by row


def reference(
    image: np.ndarray,
    scores: np.ndarray,
    iterations: int,
    dilations: tuple[int, ...],
    kernel: Kernel = PAMR_KERNEL,
) -> np.ndarray:
    """PAMR of one image, pixel by pixel, in float64."""
    _, height, width = image.shape

    def around(maps: np.ndarray, y: int, x: int, *, centre: bool) -> np.ndarray:
        values = []
        for reach in dilations:
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if centre or (dy, dx) != (0, 0):
                        row = min(max(y + dy * reach, 0), height - 1)
                        column = min(max(x + dx * reach, 0), width - 1)
                        values.append(maps[:, row, column])
        return np.array(values)

    def softmax(energy: np.ndarray) -> np.ndarray:
        weights: np.ndarray = np.exp(energy - energy.max())
        weights /= weights.sum()
        return weights

    distances = np.array([reach * root for reach in dilations for root in RING])
    nearness = softmax(-((distances / (kernel.share * distances.std(ddof=1))) ** 2))
    for _ in range(iterations):
        updated = np.zeros_like(scores)
        for y in range(height):
            for x in range(width):
                window = around(image, y, x, centre=kernel.deviation == "window")
                deviation = 1e-8 + kernel.share * window.std(axis=0, ddof=1)
                difference = np.abs(around(image, y, x, centre=False) - image[:, y, x])
                energy = -((difference / deviation) ** kernel.exponent).mean(axis=1)
                weights = softmax(energy) + kernel.position * nearness
                updated[:, y, x] = weights @ around(scores, y, x, centre=False)
        scores = updated
    return scores


@pytest.mark.parametrize("kernel", [PAMR_KERNEL, PAR_KERNEL], ids=["pamr", "par"])
@pytest.mark.parametrize(("iterations", "dilations"), [(1, (1,)), (3, (1, 2, 4)), (2, DILATIONS)])
def test_agrees_with_a_pixel_by_pixel_version(
    iterations: int, dilations: tuple[int, ...], kernel: Kernel
) -> None:
    ours = pamr(IMAGES, SCORES, iterations=iterations, dilations=dilations, kernel=kernel).numpy()
    for image, scores, result in zip(IMAGES, SCORES, ours, strict=True):
        parts = (image.double().numpy(), scores.double().numpy())
        expected = reference(*parts, iterations, dilations, kernel)
        np.testing.assert_allclose(result, expected, atol=2e-6)


def test_scores_of_the_later_kernel_grow_by_a_hundredth_with_every_iteration() -> None:
    constant = torch.ones(1, 1, 11, 14)
    result = pamr(IMAGES[:1], constant, iterations=20, kernel=PAR_KERNEL)
    assert torch.allclose(result, torch.tensor(1.01**20), atol=1e-5)


def test_the_sum_over_labels_is_kept_and_values_stay_in_range() -> None:
    shares = SCORES.softmax(dim=1)
    result = pamr(IMAGES, shares)
    assert torch.allclose(result.sum(dim=1), torch.ones(2, 11, 14), atol=1e-5)
    assert float(result.min()) >= float(shares.min())
    assert float(result.max()) <= float(shares.max())


def test_a_constant_map_is_a_fixed_point_and_a_constant_image_gives_the_plain_mean() -> None:
    constant = torch.full((1, 1, 11, 14), 0.3)
    assert torch.allclose(pamr(IMAGES[:1], constant), constant, atol=1e-6)
    grey = torch.full((1, 3, 3, 3), 7.0)
    spike = torch.zeros(1, 1, 3, 3)
    spike[..., 1, 1] = 1
    result = pamr(grey, spike, iterations=1, dilations=(1,))
    expected = torch.full((3, 3), 1 / 8)
    expected[1, 1] = 0  # a pixel is not its own neighbour
    assert torch.allclose(result[0, 0], expected)


def test_an_affine_change_of_the_intensities_changes_nothing() -> None:
    gain = torch.tensor([0.5, 2.0, 3.0]).view(1, 3, 1, 1)
    assert torch.allclose(pamr(IMAGES, SCORES), pamr(gain * IMAGES.float() - 20, SCORES), atol=1e-4)


def test_scores_do_not_cross_an_edge() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 255
    scores = torch.zeros(1, 1, 8, 8)
    scores[..., :4] = 1
    result = pamr(image, scores, dilations=(1, 2))
    assert float(result[..., :4].min()) > 0.85
    assert float(result[..., 4:].max()) < 0.15


@pytest.mark.parametrize(
    ("images", "scores", "options", "message"),
    [
        (IMAGES, SCORES[..., 1:], {}, "expected 2 maps of 11 x 14"),
        (IMAGES[0], SCORES, {}, "images: expected shape"),
        (IMAGES, SCORES, {"iterations": -1}, "0 or more iterations"),
        (IMAGES, SCORES, {"dilations": ()}, "dilations of 1 or more"),
    ],
)
def test_refuses_what_does_not_fit(
    images: Tensor, scores: Tensor, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pamr(images, scores, **options)  # type: ignore[arg-type]
