from __future__ import annotations

import numpy as np
import pytest
import torch

from weakclip.ops.walk import disc_offsets, pair_values, pair_windows, random_walk

SIZE = (5, 7)
OFFSETS = disc_offsets(3)
GENERATOR = torch.Generator().manual_seed(0)
SCORES = torch.rand(2, 3, *SIZE, generator=GENERATOR, dtype=torch.float64)
FIELD = torch.rand(2, *SIZE, generator=GENERATOR, dtype=torch.float64)
AFFINITIES = [1 - (a - b).abs() for a, b in pair_values(FIELD, OFFSETS)]


def dense(image: int, sharpness: float) -> np.ndarray:
    """Column-stochastic transition matrix of an image, pair by pair."""
    height, width = SIZE
    affinity = np.eye(height * width)
    for offset, values in zip(OFFSETS, AFFINITIES, strict=True):
        (rows, columns), _ = pair_windows(SIZE, offset)
        for row in range(rows.start, rows.stop):
            for column in range(columns.start, columns.stop):
                here = row * width + column
                there = (row + offset[0]) * width + column + offset[1]
                value = values[image, row - rows.start, column - columns.start].item()
                affinity[here, there] = affinity[there, here] = value**sharpness
    affinity /= affinity.sum(axis=0, keepdims=True)
    return affinity


@pytest.mark.parametrize(("sharpness", "steps"), [(1.0, 1), (8.0, 16)])
def test_agrees_with_powers_of_the_dense_transition_matrix(sharpness: float, steps: int) -> None:
    result = random_walk(SCORES, AFFINITIES, OFFSETS, sharpness=sharpness, steps=steps)
    for image in range(2):
        matrix = np.linalg.matrix_power(dense(image, sharpness), steps)
        expected = SCORES[image].reshape(3, -1).numpy() @ matrix
        np.testing.assert_allclose(result[image].reshape(3, -1), expected, atol=1e-12)


def test_values_stay_in_range_and_a_ring_of_zero_affinity_isolates_a_region() -> None:
    island = torch.zeros(1, *SIZE, dtype=torch.float64)
    island[:, 1:4, 2:5] = 1
    affinities = [(a == b).double() for a, b in pair_values(island, OFFSETS)]
    result = random_walk(SCORES[:1], affinities, OFFSETS, sharpness=1, steps=200)
    inside = SCORES[0, :, 1:4, 2:5]
    assert float(result.min()) >= float(SCORES[0].min())
    assert float(result.max()) <= float(SCORES[0].max())
    changed = SCORES[:1].clone()
    changed[:, :, 0] = 9.0  # far outside the island
    again = random_walk(changed, affinities, OFFSETS, sharpness=1, steps=200)
    assert torch.equal(again[..., 1:4, 2:5], result[..., 1:4, 2:5])
    spread = result[0, :, 1:4, 2:5].flatten(1)
    assert float((spread.amax(1) - spread.amin(1)).max()) < 1e-6  # it has mixed
    assert float((inside.flatten(1).amax(1) - inside.flatten(1).amin(1)).min()) > 0.1


def test_a_grid_smaller_than_the_radius_still_walks() -> None:
    offsets = disc_offsets(5)
    scores = torch.rand(1, 2, 1, 3, generator=GENERATOR)
    affinities = [torch.ones_like(a) for a, _ in pair_values(scores[:, 0], offsets)]
    result = random_walk(scores, affinities, offsets, sharpness=1, steps=1)
    assert torch.allclose(result, scores.mean(dim=3, keepdim=True).expand_as(scores))


def test_offsets_are_the_half_disc() -> None:
    for radius, count in ((5, 34), (10, 152)):
        offsets = set(disc_offsets(radius))
        assert len(offsets) == count
        assert not {(-down, -right) for down, right in offsets} & offsets


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="radius: expected 2"):
        disc_offsets(1)
    with pytest.raises(ValueError, match="sharpness > 0"):
        random_walk(SCORES, AFFINITIES, OFFSETS, sharpness=0, steps=1)
    with pytest.raises(ValueError, match=r"affinities of offset \(0, 1\): expected shape"):
        random_walk(SCORES, AFFINITIES[1:], OFFSETS[:-1], sharpness=1, steps=1)
