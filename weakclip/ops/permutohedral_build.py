"""Building the permutohedral lattice: number the vertices, find their neighbours, normalise.

All by sorting integer keys, so that it runs on any device and for many images at once. Vertices are
sorted per remainder (a key of one remainder never equals one of another): d+1 short sorts cost half
of one long one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from weakclip.ops.permutohedral import Lattice, SparseRows
from weakclip.ops.permutohedral_embed import embed, key_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_MAX_KEY_BITS = 62
_BLUR_ROWS = 1 << 22  # rows of blur matrices made at once, which bounds the temporaries


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Group:
    """The vertices of one remainder, over all images.

    Attributes:
        keys: Distinct, ascending, (M_r,).
        numbers: Their vertex numbers, (M_r,), int32.
    """

    keys: Tensor
    numbers: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Numbering:
    """Which vertex each of the B*N*(d+1) splat entries goes to.

    Vertices are numbered image by image, and by remainder within an image. Sorted entries are kept
    per remainder, (d+1, B*N): they are image by image as well, N to an image.

    Attributes:
        order: Pixel of each sorted entry, (d+1, B*N), int64.
        vertex: Vertex of each sorted entry, (d+1, B*N), int32.
        start: First entry of each vertex when entries are taken image by image, and a last offset,
            (M + 1,), int32.
        counts: Vertices of each image, B integers.
        groups: Vertices of each remainder.
    """

    order: Tensor
    vertex: Tensor
    start: Tensor
    counts: tuple[int, ...]
    groups: tuple[_Group, ...]


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
    if images * box.cells >= 1 << _MAX_KEY_BITS:
        raise ValueError(
            f"the features of {images} image(s) span {box.cells:.1e} lattice cells each, more than "
            f"2^{_MAX_KEY_BITS} in all: the standard deviations (sxy, srgb) are too small"
        )
    keys, weights = embed(flat, box, images)
    numbering = _number(keys, images)
    below = _neighbours_below(numbering, box.strides)
    at_once = max(1, _BLUR_ROWS // below.shape[1])
    blur = [
        matrix
        for some in torch.split(below, at_once)
        for matrix in _blur_matrices(some, features.dtype)
    ]
    del below
    entries = numbering.order.int()
    splat_weight = torch.stack(
        [row.index_select(0, order) for row, order in zip(weights, entries, strict=True)]
    )
    raw = Lattice(
        vertex_counts=numbering.counts,
        slice=_slice_matrix(numbering, weights),
        splat=SparseRows(
            index=_image_by_image(entries, images),
            weight=_image_by_image(splat_weight, images),
            start=numbering.start,
        ),
        blur=tuple(blur),
    )
    return _normalised(raw)


def _slice_matrix(numbering: _Numbering, weights: Tensor) -> SparseRows:
    """One row per pixel with the d+1 vertices around it and their weights (d+1, B*N)."""
    corners, pixels = weights.shape
    index = torch.empty(pixels, corners, dtype=torch.int32, device=weights.device)
    for r, (order, vertex) in enumerate(zip(numbering.order, numbering.vertex, strict=True)):
        index[:, r] = torch.empty_like(vertex).scatter_(0, order, vertex)
    end = pixels * corners + 1
    return SparseRows(
        index=index.view(-1),
        weight=weights.t().reshape(-1),
        start=torch.arange(0, end, corners, dtype=torch.int32, device=weights.device),
    )


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


def _image_by_image(rows: Tensor, images: int) -> Tensor:
    """(d+1, B*N) to a flat tensor ordered by image, then remainder, then as it was."""
    return rows.view(len(rows), images, -1).transpose(0, 1).reshape(-1)


def _number(keys: Tensor, images: int) -> _Numbering:
    """Number the distinct keys (d+1, B*N) of each image and remainder in ascending order."""
    pairs = [row.sort(stable=True) for row in keys]
    ordered = torch.stack([values for values, _ in pairs])
    order = torch.stack([indices for _, indices in pairs])
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[:, 1:], ordered[:, :-1], out=is_first[:, 1:])
    flat_first = _image_by_image(is_first, images)
    numbers = flat_first.cumsum(0, dtype=torch.int32).sub_(1)
    vertex = numbers.view(images, len(keys), -1).transpose(0, 1).reshape(len(keys), -1)
    first = flat_first.nonzero()[:, 0]
    counts = is_first.view(len(keys), images, -1).sum((0, 2)).tolist()
    groups = []
    for values, flags, row in zip(ordered, is_first, vertex, strict=True):
        where = flags.nonzero()[:, 0]
        groups.append(
            _Group(keys=values.index_select(0, where), numbers=row.index_select(0, where))
        )
    return _Numbering(
        order=order,
        vertex=vertex,
        start=torch.cat([first, first.new_tensor([len(flat_first)])]).int(),
        counts=tuple(counts),
        groups=tuple(groups),
    )


def _neighbours_below(numbering: _Numbering, strides: Sequence[int]) -> Tensor:
    """Neighbour of each vertex one step down each axis, (d+1, M), int32; -1 where there is none.

    A step down along axis j takes d+1 coordinates (d+1) u_i + r to remainder r - 1 with u_j one up
    or, from remainder 0, to remainder d with all u_i but u_j one down.
    """
    groups = numbering.groups
    steps = groups[0].keys.new_tensor(strides)[:, None]
    below = groups[0].numbers.new_empty(len(strides), sum(numbering.counts))
    for r, group in enumerate(groups):
        targets = group.keys + (steps if r else steps - sum(strides))
        other = groups[r - 1]
        found = torch.searchsorted(other.keys, targets, out_int32=True)
        found = found.clamp_(max=len(other.keys) - 1).view(-1)
        hit = other.keys.index_select(0, found) == targets.view(-1)
        number = torch.where(hit, other.numbers.index_select(0, found), -1)
        below.index_copy_(1, group.numbers.long(), number.view_as(targets))
    return below


def _blur_matrices(below: Tensor, dtype: torch.dtype) -> tuple[SparseRows, ...]:
    """V + (V[below] + V[above]) / 2 for each axis; a missing neighbour counts as 0.

    The matrices of A axes, `below` of (A, M), are made as one with A M rows; each row holds the
    vertex itself, its neighbour below and its neighbour above, where they exist.
    """
    axes, count = below.shape
    has_below = below >= 0
    pairs = has_below.sum(1).tolist()
    upper = has_below.view(-1).nonzero()[:, 0]
    first_row = torch.arange(0, axes * count, count, device=below.device).repeat_interleave(
        torch.tensor(pairs, device=below.device), output_size=len(upper)
    )
    below_column = below.view(-1).index_select(0, upper)
    lower = below_column + first_row
    sizes = has_below.view(-1).to(torch.int32).add_(1)
    sizes += torch.zeros_like(sizes).index_fill_(0, lower, 1)
    ends = sizes.cumsum(0)
    here = ends - sizes
    total = axes * count + 2 * len(upper)
    columns = torch.arange(count, dtype=torch.int32, device=below.device).repeat(axes)
    index = torch.empty(total, dtype=torch.int32, device=below.device)
    index.scatter_(0, here, columns)
    index.scatter_(0, here.index_select(0, upper).add_(1), below_column)
    index.scatter_(0, ends.index_select(0, lower).sub_(1), columns.index_select(0, upper))
    weight = torch.full((total,), 0.5, dtype=dtype, device=below.device).index_fill_(0, here, 1.0)
    return _split_axes(index, weight, ends.int(), [count + 2 * pair for pair in pairs])


def _split_axes(
    index: Tensor, weight: Tensor, ends: Tensor, entries: Sequence[int]
) -> tuple[SparseRows, ...]:
    """One matrix per axis out of the joint one."""
    begins = itertools.accumulate(entries, initial=0)
    zero = ends.new_zeros(1)
    return tuple(
        SparseRows(index=i, weight=w, start=torch.cat([zero, e - begin]))
        for i, w, e, begin in zip(
            torch.split(index, list(entries)),
            torch.split(weight, list(entries)),
            ends.view(len(entries), -1),
            begins,
            strict=False,
        )
    )
