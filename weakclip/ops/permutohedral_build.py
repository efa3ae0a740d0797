"""Building the permutohedral lattice: number the vertices, find their neighbours, normalise.

All by sorting integer keys, so that it runs on any device and for many images at once. Vertices are
sorted per image and remainder: short sorts cost less than a long one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from weakclip.ops.permutohedral import Lattice, SparseRows
from weakclip.ops.permutohedral_embed import embed, key_box
from weakclip.ops.permutohedral_keys import KeyTable, sort_rows

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.ops.permutohedral_embed import KeyBox

_MAX_KEY_BITS = 62


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Numbering:
    """Which vertex each of the B*(d+1)*N splat entries goes to.

    Vertices are numbered image by image, by remainder within an image, and by key within those.
    Entries are kept in that order too, N to a remainder of an image.

    Attributes:
        order: Pixel (of its image) of each entry, (B, d+1, N), int64.
        vertex: Vertex of each entry, (B, d+1, N), int32.
        start: First entry of each vertex, and a last offset, (M + 1,), int32.
        keys: Key of each vertex among all images and remainders, ascending, (M,), int64.
        counts: Vertices of each image and remainder, (B, d+1).
    """

    order: Tensor
    vertex: Tensor
    start: Tensor
    keys: Tensor
    counts: Tensor


def build_lattice(features: Tensor) -> Lattice:
    """The normalised lattice filter of B images.

    Args:
        features: (B, d, N), each dimension divided by its standard deviation; float32, or float64
            for tests. Neither B nor N is 0.

    Raises:
        ValueError: If the features span too many lattice cells to number them with 62 bits.
    """
    images, axes, pixels = features.shape
    flat = features.transpose(0, 1).reshape(axes, images * pixels)
    box = key_box(flat)
    if images * (axes + 1) * box.cells >= 1 << _MAX_KEY_BITS:
        raise ValueError(
            f"the features of {images} image(s) span {box.cells:.1e} lattice cells each, more than "
            f"2^{_MAX_KEY_BITS} in all: the standard deviations (sxy, srgb) are too small"
        )
    keys, weights = embed(flat, box)
    shape = (axes + 1, images, pixels)
    numbering = _number(keys.view(shape).transpose(0, 1).contiguous(), box)
    weights = weights.view(shape).transpose(0, 1).contiguous()
    raw = Lattice(
        vertex_counts=tuple(numbering.counts.sum(1).tolist()),
        slice=_slice_matrix(numbering, weights),
        splat=_splat_matrix(numbering, weights),
        blur=_blur_matrices(numbering, box, features.dtype),
    )
    return _normalised(raw)


def _number(keys: Tensor, box: KeyBox) -> _Numbering:
    """Number the distinct keys (B, d+1, N) of each image and remainder in ascending order."""
    images, corners, _ = keys.shape
    ordered, order = sort_rows(keys)
    rows = torch.arange(images * corners, device=keys.device).view(images, corners, 1)
    ordered += rows * box.cells  # no key twice, whatever the image and remainder
    flat = ordered.view(-1)
    is_first = torch.ones_like(flat, dtype=torch.bool)
    torch.ne(flat[1:], flat[:-1], out=is_first[1:])
    first = is_first.nonzero()[:, 0]
    vertex = is_first.cumsum(0, dtype=torch.int32).sub_(1)
    return _Numbering(
        order=order,
        vertex=vertex.view(keys.shape),
        start=torch.cat([first, first.new_tensor([len(flat)])]).int(),
        keys=flat.index_select(0, first),
        counts=is_first.view(keys.shape).sum(2),
    )


def _slice_matrix(numbering: _Numbering, weights: Tensor) -> SparseRows:
    """One row per pixel with the d+1 vertices around it and their weights (B, d+1, N)."""
    corners = weights.shape[1]
    around = torch.empty_like(numbering.vertex).scatter_(2, numbering.order, numbering.vertex)
    return SparseRows(
        index=around.transpose(1, 2).reshape(-1),
        weight=weights.transpose(1, 2).reshape(-1),
        start=_equal_rows(weights.numel(), corners, weights.device),
    )


def _splat_matrix(numbering: _Numbering, weights: Tensor) -> SparseRows:
    """One row per vertex with the pixels around it and their weights (B, d+1, N)."""
    images, corners, pixels = weights.shape
    order = numbering.order.int()
    row = torch.arange(images * corners, dtype=torch.int32, device=weights.device)
    entry = order + (row * pixels).view(images, corners, 1)
    image = torch.arange(images, dtype=torch.int32, device=weights.device)
    return SparseRows(
        index=order.add_((image * pixels).view(images, 1, 1)).view(-1),
        weight=weights.view(-1).index_select(0, entry.view(-1)),
        start=numbering.start,
    )


def _blur_matrices(
    numbering: _Numbering, box: KeyBox, dtype: torch.dtype
) -> tuple[SparseRows, ...]:
    """V + (V[below] + V[above]) / 2 for each axis; a missing neighbour counts as 0.

    A step down along axis j takes d+1 coordinates (d+1) u_i + r to remainder r - 1 with u_j one up
    or, from remainder 0, to remainder d with all u_i but u_j one down. Every row has three entries,
    a missing neighbour being the vertex itself with weight 0: rows of one length are summed twice
    as fast as rows of one, two or three.
    """
    corners = len(box.strides)
    remainder = torch.full_like(numbering.counts, -box.cells)
    remainder[:, 0] = (corners - 1) * box.cells - sum(box.strides)
    down = numbering.keys + remainder.view(-1).repeat_interleave(numbering.counts.view(-1))
    table = KeyTable(numbering.keys)
    count = len(numbering.keys)
    start = _equal_rows(3 * count, 3, down.device)
    here = torch.arange(count, dtype=torch.int32, device=down.device)
    matrices = []
    for stride in box.strides:
        below = table.find(down + stride)
        above = torch.full((count + 1,), -1, dtype=torch.int32, device=down.device)
        above.scatter_(0, below.long() + 1, here)  # -1 goes to the spare first place
        beside = (below, above[1:])
        index = [here, *(torch.where(vertex < 0, here, vertex) for vertex in beside)]
        halves = [(vertex >= 0).to(dtype).mul_(0.5) for vertex in beside]
        weight = [torch.ones_like(halves[0]), *halves]
        matrices.append(
            SparseRows(
                index=torch.stack(index, dim=1).view(-1),
                weight=torch.stack(weight, dim=1).view(-1),
                start=start,
            )
        )
    return tuple(matrices)


def _normalised(raw: Lattice) -> Lattice:
    """D K D with D = 1/sqrt(K 1), folded into the weights of splat and slice."""
    corners = len(raw.blur)
    alpha = 1 / (1 + 2.0 ** (1 - corners))
    ones = raw.slice.weight.new_ones(raw.pixels, 1)
    mass = raw.to_pixels(raw.to_vertices(ones)).mul_(alpha)
    scale = mass.add_(1e-20).rsqrt_().mul_(math.sqrt(alpha))
    gathered = scale[:, 0].index_select(0, raw.splat.index)
    return replace(
        raw,
        slice=replace(raw.slice, weight=(raw.slice.weight.view(-1, corners) * scale).view(-1)),
        splat=replace(raw.splat, weight=raw.splat.weight * gathered),
    )


def _equal_rows(entries: int, length: int, device: torch.device) -> Tensor:
    """Offsets of rows of one length."""
    return torch.arange(0, entries + 1, length, dtype=torch.int32, device=device)
