"""Two references of the dense CRF for small images, written from the recipe and in numpy alone.

`lattice_kernel` walks pixel by pixel through a dictionary of vertices, as the C++ code does;
`exact_kernel` is the Gaussian itself, which the lattice approximates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from weakclip.crf.permutohedral import Lattice

Array = np.ndarray[Any, Any]


def features(height: int, width: int, sxy: float, image: Array | None, srgb: float) -> Array:
    """(N, 2) or, with an image (H, W, 3), (N, 5)."""
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    columns = [x / np.float32(sxy), y / np.float32(sxy)]
    if image is not None:
        columns += list(image.reshape(-1, 3).T.astype(np.float32) / np.float32(srgb))
    return np.stack(columns, 1).astype(np.float32)


def exact_kernel(points: Array) -> Array:
    """(N, N) exp(-|f_i - f_j|^2 / 2), float64."""
    square = ((points[:, None].astype(np.float64) - points[None]) ** 2).sum(-1)
    kernel: Array = np.exp(-square / 2)
    return kernel


def lattice_kernel(points: Array) -> tuple[Array, int]:
    """(N, N) matrix of the lattice filter with its constant alpha, and the number of vertices."""
    count, d = points.shape
    vertices: dict[tuple[int, ...], int] = {}
    splat = []
    for point in points:
        for key, weight in zip(*_simplex(point, d), strict=True):
            splat.append((vertices.setdefault(key, len(vertices)), weight))
    matrix = np.zeros((len(vertices), count))
    for entry, (vertex, weight) in enumerate(splat):
        matrix[vertex, entry // (d + 1)] += weight
    values = matrix
    for axis in range(d + 1):
        step = np.full(d, -1)
        if axis < d:
            step[axis] = d
        blurred = values.copy()
        for key, vertex in vertices.items():
            for sign in (1, -1):
                other = vertices.get(tuple(np.array(key) + sign * step))
                if other is not None:
                    blurred[vertex] += 0.5 * values[other]
        values = blurred
    return matrix.T @ values / (1 + 2.0**-d), len(vertices)


def _simplex(point: Array, d: int) -> tuple[list[tuple[int, ...]], Array]:
    """Keys and barycentric weights of the d+1 vertices around a float32 point."""
    f32 = np.float32
    inverse_std = f32(np.sqrt(2 / 3) * (d + 1))
    elevated, partial = np.zeros(d + 1, dtype=f32), f32(0)
    for j in range(d, 0, -1):
        scaled = point[j - 1] * f32(1 / np.sqrt(j * (j + 1)) * inverse_std)
        elevated[j] = partial - f32(j) * scaled
        partial = f32(partial + scaled)
    elevated[0] = partial
    cell = np.round(elevated * f32(1 / (d + 1)))
    rest = elevated - cell * f32(d + 1)
    rank = np.zeros(d + 1, dtype=int)
    for i in range(d):
        for j in range(i + 1, d + 1):
            rank[i if rest[i] < rest[j] else j] += 1
    rank += int(cell.sum())
    wrap = (rank < 0).astype(int) - (rank > d).astype(int)
    rank += wrap * (d + 1)
    corner = (cell + wrap) * (d + 1)
    weights = np.zeros(d + 2, dtype=f32)
    for i, t in enumerate((elevated - corner.astype(f32)) * f32(1 / (d + 1))):
        weights[d - rank[i]] += t
        weights[d - rank[i] + 1] -= t
    weights[0] += 1 + weights[d + 1]
    keys = []
    for r in range(d + 1):
        canonical = np.where(rank <= d - r, r, r - (d + 1))
        keys.append(tuple((corner + canonical).astype(int)[:d].tolist()))
    return keys, weights[: d + 1]


def mean_field(unary: Array, kernels: list[tuple[Array, Array]], iterations: int) -> Array:
    """Marginals (L, N) in float64; each kernel (N, N) comes with its (L, L) penalties."""

    def softmax(logits: Array) -> Array:
        shifted = np.exp(logits - logits.max(0))
        shares: Array = shifted / shifted.sum(0)
        return shares

    marginals = softmax(-unary)
    for _ in range(iterations):
        logits = -unary
        for kernel, penalties in kernels:
            scale = 1 / np.sqrt(kernel.sum(1) + 1e-20)
            logits = logits - penalties @ (scale * ((marginals * scale) @ kernel.T))
        marginals = softmax(logits)
    return marginals


def parts_of(lattice: Lattice) -> list[Any]:
    """Numbers of vertices, then the tensors of all matrices, of a lattice under test."""
    parts: list[Any] = [lattice.vertex_counts]
    for matrix in (lattice.slice, lattice.vertex_filter.splat, lattice.vertex_filter.blur):
        parts += [matrix.index, matrix.weight, matrix.start]
    return parts
