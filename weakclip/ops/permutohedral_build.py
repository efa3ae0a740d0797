"""Building the permutohedral lattice: number the vertices, find their neighbours, normalise.

All by sorting integer keys, so that it runs on any device and for many images at once. Keys are
sorted per image and remainder: short sorts cost less than a long one. Vertices are then numbered in
the order in which the pixels first touch them, so that what lies together in the image lies
together in memory: filtering is gathering, and the cache decides how fast that is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    """Which vertex each of the B*(d+1)*N corners of the pixels' simplices is.

    Vertices are numbered image by image, and in an image by the first pixel that touches them.

    Attributes:
        vertex: Vertex of each corner, (B, d+1, N), int32.
        corner: Corners vertex by vertex, as positions in `vertex`, (B*(d+1)*N,), int32.
        pixel: Pixel, among those of all images, of each of `corner`, int32.
        start: First of `corner` of each vertex, and a last offset, (M + 1,), int32.
        keys: Key of each vertex among all images and remainders, (M,), int64.
        below: Key one step down an axis, less the stride of the axis, (M,), int64.
        counts: Vertices of each image, B integers.
    """

    vertex: Tensor
    corner: Tensor
    pixel: Tensor
    start: Tensor
    keys: Tensor
    below: Tensor
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sorted:
    """Corners sorted by key, within each image and remainder.

    Attributes:
        keys: No key stands in two rows, (B, d+1, N), int64.
        order: Pixel of its image of each, (B, d+1, N), int64.
        vertex: Number of each key among the distinct ones, (B*(d+1)*N,), int32.
        first: Position of the first corner of each distinct key, (M,), int64.
    """

    keys: Tensor
    order: Tensor
    vertex: Tensor
    first: Tensor


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
        vertex_counts=numbering.counts,
        slice=_slice_matrix(numbering, weights),
        splat=_splat_matrix(numbering, weights),
        blur=_blur_matrices(numbering, box, features.dtype),
    )
    return _normalised(raw)


def _number(keys: Tensor, box: KeyBox) -> _Numbering:
    """Number the distinct keys (B, d+1, N) of each image and remainder."""
    images, corners, pixels = keys.shape
    found = _sort(keys, box)
    row = found.first // pixels
    image, remainder = row // corners, row % corners
    pixel = found.order.view(-1).index_select(0, found.first)
    _, turn = sort_rows((image * pixels + pixel) * corners + remainder)  # by the first touch
    number = torch.empty(len(turn), dtype=torch.int32, device=keys.device)
    number.scatter_(0, turn, torch.arange(len(turn), dtype=torch.int32, device=keys.device))

    rows = torch.arange(images * corners, device=keys.device).view(images, corners, 1)
    places = found.order.int().add_(rows // corners * pixels).view(-1)
    corner = found.order.add_(rows * pixels).view(-1)
    vertex = number.index_select(0, found.vertex)
    vertex = torch.empty_like(vertex).scatter_(0, corner, vertex).view(keys.shape)
    taken, start = _in_turn(found.first, turn, len(corner))
    step = torch.where(remainder > 0, -box.cells, (corners - 1) * box.cells - sum(box.strides))
    known = found.keys.view(-1).index_select(0, found.first)
    return _Numbering(
        vertex=vertex,
        corner=corner.int().index_select(0, taken),
        pixel=places.index_select(0, taken),
        start=start,
        keys=known.index_select(0, turn),
        below=(known + step).index_select(0, turn),
        counts=tuple(torch.bincount(image, minlength=images).tolist()),
    )


def _sort(keys: Tensor, box: KeyBox) -> _Sorted:
    ordered, order = sort_rows(keys)
    rows = torch.arange(keys.shape[0] * keys.shape[1], device=keys.device)
    ordered += (rows * box.cells).view(*keys.shape[:2], 1)
    flat = ordered.view(-1)
    is_first = torch.ones_like(flat, dtype=torch.bool)
    torch.ne(flat[1:], flat[:-1], out=is_first[1:])
    return _Sorted(
        keys=ordered,
        order=order,
        vertex=is_first.cumsum(0, dtype=torch.int32).sub_(1),
        first=is_first.nonzero()[:, 0],
    )


def _in_turn(first: Tensor, turn: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Ranges from `first` to the next one, taken in another turn.

    Args:
        first: Begin of each of M ranges, ascending from 0, int64.
        turn: Ranges in their new order, (M,), int64.
        total: End of the last range.

    Returns:
        Positions in the new order, (total,), and new begin of each range, and the end; int32.
    """
    length = torch.diff(first, append=first.new_tensor([total])).index_select(0, turn)
    start = torch.cat([length.new_zeros(1), length.cumsum(0)])
    shift = (first.index_select(0, turn) - start[:-1]).int()
    taken = shift.repeat_interleave(length, output_size=total)
    return taken.add_(torch.arange(total, dtype=torch.int32, device=first.device)), start.int()


def _slice_matrix(numbering: _Numbering, weights: Tensor) -> SparseRows:
    """One row per pixel with the d+1 vertices around it and their weights (B, d+1, N)."""
    return SparseRows(
        index=numbering.vertex.transpose(1, 2).reshape(-1),
        weight=weights.transpose(1, 2).reshape(-1),
        start=_equal_rows(weights.numel(), weights.shape[1], weights.device),
    )


def _splat_matrix(numbering: _Numbering, weights: Tensor) -> SparseRows:
    """One row per vertex with the pixels around it and their weights (B, d+1, N)."""
    return SparseRows(
        index=numbering.pixel,
        weight=weights.view(-1).index_select(0, numbering.corner),
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
    table = KeyTable(numbering.keys)
    count, device = len(numbering.keys), numbering.keys.device
    start = _equal_rows(3 * count, 3, device)
    here = torch.arange(count, dtype=torch.int32, device=device)
    matrices = []
    for stride in box.strides:
        below = table.find(numbering.below + stride)
        above = torch.full((count + 1,), -1, dtype=torch.int32, device=device)
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
    """D K D with D = 1/sqrt(K 1), folded into the weights of splat and slice, in place."""
    corners = len(raw.blur)
    alpha = 1 / (1 + 2.0 ** (1 - corners))
    ones = raw.slice.weight.new_ones(raw.pixels, 1)
    mass = raw.to_pixels(raw.to_vertices(ones)).mul_(alpha)
    scale = mass.add_(1e-20).rsqrt_().mul_(math.sqrt(alpha))
    raw.splat.weight.mul_(scale[:, 0].index_select(0, raw.splat.index))
    raw.slice.weight.view(-1, corners).mul_(scale)
    return raw


def _equal_rows(entries: int, length: int, device: torch.device) -> Tensor:
    """Offsets of rows of one length."""
    return torch.arange(0, entries + 1, length, dtype=torch.int32, device=device)
