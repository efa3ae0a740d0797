from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bench.selection.signals import agreement, crf_energy, found_classes
from weakclip.crf.dense import Bilateral, CRFConfig, Gaussian, build_lattices, mean_field

SIDE = 5
CRF = CRFConfig(terms=(Gaussian(sxy=1, weight=2), Bilateral(sxy=3, srgb=20, weight=1.5)))


def kernel(image: torch.Tensor) -> torch.Tensor:
    """The kernel as a matrix: what one update gets from each pixel, of two labels."""
    one, pixels = replace(CRF, iterations=1), SIDE * SIDE
    matrix = torch.zeros(pixels, pixels)
    lattices = build_lattices(image[None], one)
    base = -torch.full((1, 2, SIDE, SIDE), 0.5).log()
    sure = torch.tensor([0.9, 0.1])

    def gap(energies: torch.Tensor) -> torch.Tensor:
        after = mean_field(energies, lattices, one).log() + energies
        return (after[0, 0] - after[0, 1]).flatten()

    rest = gap(base)
    for pixel in range(pixels):
        energies = base.clone()
        energies[0, :, pixel // SIDE, pixel % SIDE] = -sure.log()
        matrix[:, pixel] = (gap(energies) - rest) / (sure[0] - sure[1])
    return matrix


def test_the_energy_is_that_of_a_sum_over_all_pairs_up_to_a_constant_of_the_image() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 255, (3, SIDE, SIDE), generator=generator).to(torch.uint8)
    pairs = kernel(image)
    start = torch.rand(3, SIDE, SIDE, generator=generator) + 0.1
    labels = torch.tensor([[True, True]])
    gaps = []
    for _ in range(3):
        masks = torch.rand(3, SIDE, SIDE, generator=generator) + 0.05
        got = float(crf_energy(image[None], masks[None], start[None], labels, CRF))
        q = (masks / masks.sum(0)).flatten(1)
        unary = -(start / start.sum(0)).flatten(1).log()
        apart = (pairs * (1 - q.T @ q)).sum(1)
        gaps.append(got - float(((q * unary).sum(0) + apart / 2).mean()))
    assert gaps == pytest.approx([gaps[0]] * 3, abs=2e-4)
    assert math.isfinite(gaps[0])


def test_masks_that_follow_the_image_and_the_start_have_less_energy() -> None:
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    image[:, :, 8:] = 250
    start = torch.full((3, 16, 16), 0.3)
    start[0, :, :8], start[1, :, 8:] = 0.7, 0.7
    right = torch.zeros(3, 16, 16)
    right[0, :, :8], right[1, :, 8:] = 1, 1
    noisy, turned = right.clone(), right[[1, 0, 2]]
    noisy[:2, ::3, ::3] = right[:2, ::3, ::3].flip(0)
    tags = torch.tensor([[True, False]])
    energies = [
        float(crf_energy(image[None], masks[None], start[None], tags, CRF))
        for masks in (right, noisy, turned)
    ]
    assert energies == sorted(energies)
    assert energies[0] < energies[1] < energies[2]
    other = right.clone()
    other[2] = 5.0  # a class that is not tagged counts for nothing
    assert float(crf_energy(image[None], other[None], start[None], tags, CRF)) == energies[0]


def test_a_class_is_found_from_one_pixel_in_a_hundred_on() -> None:
    probabilities = torch.zeros(1, 4, 10, 20)
    probabilities[:, 0] = 0.5
    probabilities[0, 1, 0, :2] = 1  # 1 %
    probabilities[0, 2, 9, 5] = 1  # 0.5 %
    assert found_classes(probabilities).tolist() == [[True, False, False]]


def test_agreement_is_one_for_equal_tags_and_counts_both_mistakes() -> None:
    tags = torch.tensor([[True, False, False], [True, True, False]])
    assert agreement(tags, tags) == 1
    found = torch.tensor([[True, True, False], [False, True, False]])
    assert agreement(found, tags) == pytest.approx(2 * 2 / (3 + 3))
    assert agreement(tags & False, tags) == 0
    assert agreement(tags & False, tags & False) == 1
