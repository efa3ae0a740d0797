"""Construction of the permutohedral lattice: vertex numbers, neighbours and normalisation.

It works by sorting integer keys, so it runs on any device and for many images at once. Keys are
sorted per image and remainder, because short sorts are cheaper than a long one. Vertices are
numbered in the order in which pixels first touch them, so that neighbours in the image are
neighbours in memory: filtering consists of gathering, whose speed depends on the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from weakclip.crf.engine import engine_for
from weakclip.crf.permutohedral import Lattice, SparseRows, pixel_scale
from weakclip.crf.permutohedral_embed import embed, key_box
from weakclip.crf.permutohedral_keys import KeyTable, sort_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.crf.permutohedral_embed import KeyBox

_MAX_KEY_BITS = 62


_CHUNK = 1 << 18  # corners sorted together on a CPU, so that temporaries fit into a core's cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Runs:
    """Corners of some images and remainders, sorted by key; a run of equal keys is a vertex.

    Attributes:
        row: Row of these corners among those of all images and remainders, (R,), int64.
        pixel: Pixel of each corner within its image, ascending within a run, (R, N), int32.
        run: Number of each corner's run among those of all images, (R, N), int32.
        keys: Key of each run among all images and remainders, int64.
        first: Position of the first corner of each run among those of all images, int64.
        touch: Pixel of that corner, int32.
    """

    row: Tensor
    pixel: Tensor
    run: Tensor
    keys: Tensor
    first: Tensor
    touch: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Vertices:
    """The M vertices, numbered by image and within an image by the first pixel that touches them.

    Attributes:
        number: Vertex of each run, (M,), int32.
        shift: Displacement of each run's corners when runs are put in this order, (M,), int64.
        start: First corner of each vertex in this order, and a last offset, (M + 1,), int32.
        keys: Key of each vertex among all images and remainders, (M,), int64.
        below: Key one step down an axis, before adding the axis's stride, (M,), int64.
        counts: Number of vertices of each image, B integers.
    """

    number: Tensor
    shift: Tensor
    start: Tensor
    keys: Tensor
    below: Tensor
    counts: tuple[int, ...]


def build_lattice(features: Tensor) -> Lattice:
    """The normalised lattice filter of B images.

    Args:
        features: (B, d, N), each dimension divided by its standard deviation; float32, or float64
            for tests. B and N must be positive.

    Raises:
        ValueError: If the features span too many lattice cells for keys of 62 bits.
    """
    images, axes, pixels = features.shape
    flat = features.transpose(0, 1).reshape(axes, images * pixels)
    box = key_box(flat)
    if images * (axes + 1) * box.cells >= 1 << _MAX_KEY_BITS:
        raise ValueError(
            f"the features of {images} image(s) span {box.cells:.1e} lattice cells each, more than "
            f"2^{_MAX_KEY_BITS} in all: the standard deviations (sxy, srgb) are too small"
        )
    engine = engine_for(features)
    if engine is None:
        return _normalised(_by_sorting(flat, box, images))
    lattice: Lattice = engine.build(features, box)
    return lattice


def _by_sorting(flat: Tensor, box: KeyBox, images: int) -> Lattice:
    """The lattice of B images before normalisation, from their features, (d, B*N)."""
    corners, pixels = len(flat) + 1, flat.shape[1] // images
    keys, weights = (
        found.view(corners, images, pixels).transpose(0, 1).reshape(-1, pixels)
        for found in embed(flat, box)
    )
    runs = _sort(keys, box)
    vertices = _number(runs, box, images)
    return Lattice(
        vertex_counts=vertices.counts,
        slice=_slice_matrix(runs, vertices, weights, images),
        splat=_splat_matrix(runs, vertices, weights, images),
        beside=_beside(vertices, box),
    )


def _sort(keys: Tensor, box: KeyBox) -> list[_Runs]:
    """Sort the keys (B*(d+1), N) of each image and remainder, some rows at a time."""
    rows, pixels = keys.shape
    size = max(1, _CHUNK // pixels) if keys.device.type == "cpu" else rows
    found, count = [], 0
    for begin in range(0, rows, size):
        ordered, pixel = sort_rows(keys[begin : begin + size])
        row = torch.arange(begin, begin + len(ordered), device=keys.device)
        flat = ordered.add_((row * box.cells)[:, None]).view(-1)  # makes keys unique across rows
        is_first = torch.ones_like(flat, dtype=torch.bool)
        torch.ne(flat[1:], flat[:-1], out=is_first[1:])
        first = is_first.nonzero()[:, 0]
        run = is_first.cumsum(0, dtype=torch.int32).add_(count - 1)
        found.append(
            _Runs(
                row=row,
                pixel=pixel,
                run=run.view(pixel.shape),
                keys=flat.index_select(0, first),
                first=first + begin * pixels,
                touch=pixel.view(-1).index_select(0, first),
            )
        )
        count += len(first)
    return found


def _number(runs: Sequence[_Runs], box: KeyBox, images: int) -> _Vertices:
    """Number the runs of equal keys as vertices."""
    keys, first, touch = (
        torch.cat([getattr(part, name) for part in runs]) for name in ("keys", "first", "touch")
    )
    pixels, rows = runs[0].pixel.shape[1], sum(len(part.pixel) for part in runs)
    corners = rows // images
    row = first // pixels
    image, remainder = row // corners, row % corners
    _, turn = sort_rows((image * pixels + touch) * corners + remainder)
    length = torch.diff(first, append=first.new_tensor([rows * pixels])).index_select(0, turn)
    start = torch.cat([length.new_zeros(1), length.cumsum(0)])
    places = torch.arange(len(turn), device=keys.device)
    number = torch.empty_like(places).scatter_(0, turn.long(), places)
    step = torch.where(remainder > 0, -box.cells, (corners - 1) * box.cells - sum(box.strides))
    return _Vertices(
        number=number.int(),
        shift=start.index_select(0, number) - first,
        start=start.int(),
        keys=keys.index_select(0, turn),
        below=(keys + step).index_select(0, turn),
        counts=tuple(torch.bincount(image, minlength=images).tolist()),
    )


def _slice_matrix(
    runs: Sequence[_Runs], vertices: _Vertices, weights: Tensor, images: int
) -> SparseRows:
    """The d+1 vertices around each pixel, one row per pixel, with weights (B*(d+1), N)."""
    corners, pixels = len(weights) // images, weights.shape[1]
    index = torch.empty(images * pixels * corners, dtype=torch.int32, device=weights.device)
    for part in runs:
        begin = part.row // corners * pixels * corners + part.row % corners
        number = vertices.number.index_select(0, part.run.view(-1))
        places = torch.add(begin[:, None], part.pixel, alpha=corners)
        index.scatter_(0, places.view(-1), number)
    weight = weights.view(images, corners, pixels).transpose(1, 2).reshape(-1)
    return SparseRows.equal(index.view(-1, corners), weight.view(-1, corners))


def _splat_matrix(
    runs: Sequence[_Runs], vertices: _Vertices, weights: Tensor, images: int
) -> SparseRows:
    """The pixels around each vertex, one row per vertex, with weights (B*(d+1), N)."""
    corners, pixels = len(weights) // images, weights.shape[1]
    index = torch.empty(weights.numel(), dtype=torch.int32, device=weights.device)
    weight = torch.empty_like(weights).view(-1)
    for part in runs:
        begin = int(part.row[0])
        places = vertices.shift.index_select(0, part.run.view(-1))
        places += torch.arange(begin * pixels, begin * pixels + len(places), device=places.device)
        inside = part.pixel + ((part.row - begin) * pixels).int()[:, None]
        some = weights[begin : begin + len(inside)].view(-1).index_select(0, inside.view(-1))
        weight.scatter_(0, places, some)
        image = part.pixel + (part.row // corners * pixels).int()[:, None]
        index.scatter_(0, places, image.view(-1))
    return SparseRows(index=index, weight=weight, start=vertices.start)


def _beside(vertices: _Vertices, box: KeyBox) -> Tensor:
    """The vertices below and above each vertex along each axis, or itself, (d+1, M, 2).

    A step down along axis j changes coordinates (d+1) u_i + r to remainder r - 1 with u_j increased
    by one; from remainder 0, to remainder d with all u_i except u_j decreased by one.
    """
    table = KeyTable(vertices.keys)
    count, device = len(vertices.keys), vertices.keys.device
    here = torch.arange(count, dtype=torch.int32, device=device)
    beside = torch.empty(len(box.strides), count, 2, dtype=torch.int32, device=device)
    for axis, stride in enumerate(box.strides):
        below = table.find(vertices.below + stride)
        above = torch.full((count + 1,), -1, dtype=torch.int32, device=device)
        above.scatter_(0, below.long() + 1, here)  # -1 goes to the unused first place
        for side, vertex in enumerate((below, above[1:])):
            beside[axis, :, side] = torch.where(vertex < 0, here, vertex)
    return beside


def _normalised(raw: Lattice) -> Lattice:
    """Normalise to D K D, in place, by scaling the weights of splat and slice."""
    corners = raw.corners
    ones = raw.slice.weight.new_ones(raw.pixels, 1)
    scale = pixel_scale(raw.to_pixels(raw.to_vertices(ones)), corners)
    assert raw.splat is not None
    raw.splat.weight.mul_(scale[:, 0].index_select(0, raw.splat.index))
    raw.slice.weight.view(-1, corners).mul_(scale)
    return raw
