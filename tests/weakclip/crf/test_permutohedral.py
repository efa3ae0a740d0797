from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.weakclip.crf.crf_reference import Array, features, lattice_kernel, parts_of
from weakclip.crf.permutohedral import Lattice, join
from weakclip.crf.permutohedral_build import build_lattice
from weakclip.crf.permutohedral_embed import embed, enclosing_simplex, key_box

pytestmark = pytest.mark.usefixtures("engine")


def golden_image() -> Array:
    y, x, c = np.mgrid[:8, :10, :3]
    image: Array = ((37 * y + 61 * x + 97 * c + 13 * x * y) % 256).astype(np.uint8)
    return image


def as_batch(points: Array) -> torch.Tensor:
    return torch.tensor(points.T[None])


def mass(lattice: Lattice) -> torch.Tensor:
    """K 1 per pixel, from the normalisation: the barycentric weights of a pixel sum to 1."""
    corners = lattice.corners
    scale = lattice.slice.weight.view(-1, corners).sum(1)
    alpha = 1 / (1 + 2.0 ** (1 - corners))
    return alpha / scale.square()


def dense(lattice: Lattice) -> torch.Tensor:
    eye = torch.eye(lattice.pixels, dtype=lattice.slice.weight.dtype)
    return lattice.to_pixels(lattice.to_vertices(eye))


@pytest.mark.parametrize(
    ("srgb", "vertices", "total", "corners"),
    [
        (None, 20, 2077.8855, (13.93163, 35.56799, 14.63912)),
        (13.0, 188, 269.4351, (3.21918, 2.64908, 2.39088)),
    ],
)
def test_vertices_and_mass_are_those_of_the_reference(
    srgb: float | None, vertices: int, total: float, corners: tuple[float, ...]
) -> None:
    if srgb is None:
        points = features(8, 10, 3, None, 1)
    else:
        points = features(8, 10, 80, golden_image(), srgb)
    lattice = build_lattice(as_batch(points))
    values = mass(lattice).view(8, 10)
    assert lattice.vertex_counts == (vertices,)
    assert float(values.sum()) == pytest.approx(total, rel=1e-5)
    assert [float(values[at]) for at in ((0, 0), (3, 4), (7, 9))] == pytest.approx(
        corners, rel=1e-5
    )


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_the_filter_is_that_of_a_walk_through_a_dictionary(dimensions: int) -> None:
    generator = np.random.default_rng(dimensions)
    points = (generator.normal(size=(40, dimensions)) * 2).astype(np.float32)
    kernel, count = lattice_kernel(points)
    lattice = build_lattice(as_batch(points))
    scale = 1 / np.sqrt(kernel.sum(1))
    assert lattice.vertex_counts == (count,)
    np.testing.assert_allclose(dense(lattice), scale[:, None] * kernel * scale, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_barycentric_weights_are_shares(dtype: torch.dtype) -> None:
    points = torch.randn(5, 300, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 9
    _, weights = embed(points, key_box(points))
    assert float(weights.min()) >= -1e-5
    torch.testing.assert_close(weights.sum(0), torch.ones(300, dtype=dtype), atol=1e-5, rtol=0)


def test_ranks_are_a_permutation_even_where_coordinates_are_equal() -> None:
    _, rank, _ = enclosing_simplex(torch.zeros(5, 2))
    assert rank.sort(0).values.T.tolist() == [[0, 1, 2, 3, 4, 5]] * 2


def batch() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, 5, 60, generator=generator) * torch.tensor([1.0, 3.0, 0.2])[:, None, None]


def test_images_of_a_batch_are_those_built_alone() -> None:
    together = build_lattice(batch())
    for image, points in enumerate(batch()):
        alone, taken = build_lattice(points[None]), together[image]
        for ours, theirs in zip(parts_of(alone), parts_of(taken), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_joined_images_are_the_batch() -> None:
    together = build_lattice(batch())
    again = join([together[0], together[1], together[-1]])
    for ours, theirs in zip(parts_of(again), parts_of(together), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)


def test_an_image_outside_the_batch_is_refused() -> None:
    with pytest.raises(IndexError, match="image 3 of a lattice of 3 images"):
        build_lattice(batch())[3]


def test_wide_features_take_long_keys() -> None:
    points = batch()[:1] * 200
    keys, _ = embed(points[0], key_box(points[0]))
    assert keys.dtype == torch.int64
    kernel, count = lattice_kernel(points[0].T.numpy())
    lattice = build_lattice(points)
    assert lattice.vertex_counts == (count,)
    scale = 1 / np.sqrt(kernel.sum(1))
    np.testing.assert_allclose(dense(lattice), scale[:, None] * kernel * scale, atol=2e-6)


def test_features_too_wide_for_any_key_are_refused() -> None:
    with pytest.raises(ValueError, match="standard deviations"):
        build_lattice(batch() * 1e6)


def test_an_image_of_one_pixel_keeps_its_value() -> None:
    lattice = build_lattice(torch.zeros(1, 5, 1))
    value = torch.tensor([[0.25, 0.75]])
    torch.testing.assert_close(lattice.to_pixels(lattice.to_vertices(value)), value)


def test_memory_is_counted() -> None:
    lattice = build_lattice(batch())
    assert lattice.nbytes > 180 * 6 * 16
    assert lattice[0].nbytes < lattice.nbytes
