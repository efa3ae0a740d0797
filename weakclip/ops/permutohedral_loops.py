"""The building of a lattice as plain loops, compiled by numba where that is installed.

Kept apart because it needs numba, an extra (`pip install weakclip[fast]`): what torch's operators
find by sorting, one walk over the pixels finds with a hash table, in a fraction of the time. The
arithmetic is that of `permutohedral_embed.py`, operation for operation in float32, and vertices and
entries stand in the order of `permutohedral_build.py`: both give the same bits, so that numba
changes the time of a run and no number of it.

References:
    Adams, Baek and Davis 2010, sections 2 and 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.ops.compiled import compiled
from weakclip.ops.permutohedral import Lattice, SparseRows, pixel_scale
from weakclip.ops.permutohedral_embed import feature_scales

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from weakclip.ops.permutohedral_embed import KeyBox

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int32]
    Keys = NDArray[np.int64]
    Vertices = NDArray[np.void]  # of `_VERTEX`

_VERTEX = np.dtype([("key", np.int64), ("mass", np.float32)], align=True)
_TILE = 128  # pixels embedded at a time, with vector instructions
_FIRST_ROOM = 1 << 14  # vertices that a hash table has room for at first
_SLOTS = 4  # of a hash table for each vertex it has room for
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Fibonacci hashing


def build(features: Tensor, box: KeyBox) -> Lattice:
    """The normalised lattice of B images, on one thread.

    Two threads were no faster: those of torch's last operator still spin on the cores.

    Args:
        features: (B, d, N), float32, on a CPU.
        box: `key_box` of all of them.
    """
    images, axes, pixels = features.shape
    corners = axes + 1
    index = torch.empty(images * pixels, corners, dtype=torch.int32)
    weight = torch.empty(images * pixels, corners)
    counts, vertices, below = enter(
        features.contiguous().numpy(),
        np.array(feature_scales(axes), np.float32),
        np.float32(1 / corners),
        np.array(box.lows),
        np.array(box.strides),
        box.cells,
        index.numpy(),
        weight.numpy(),
    )
    around = torch.empty(corners, len(below), 3, dtype=torch.int32)
    halves = torch.empty(corners, len(below), 3)
    mass = connect(below, vertices["mass"].copy(), around.numpy(), halves.numpy())
    slices = SparseRows.equal(index, weight)
    scale = pixel_scale(slices.apply(torch.from_numpy(mass)[:, None]), corners)
    weight.mul_(scale)
    blur = SparseRows.equal(around.view(-1, 3), halves.view(-1, 3))
    return Lattice(vertex_counts=tuple(counts.tolist()), slice=slices, splat=None, blur=blur)


@compiled
def enter(
    features: Floats,
    scales: Floats,
    inverse: np.float32,
    lows: Keys,
    strides: Keys,
    cells: int,
    index: Integers,
    weight: Floats,
) -> tuple[Keys, Vertices, Integers]:
    """Embed all pixels and number the vertices, image by image, as the pixels touch them.

    Args:
        features: (B, d, N).
        scales: Of each feature before elevation, (d,).
        inverse: 1 / (d+1).
        lows: Of the key box, (d+1,).
        strides: Of the key box, (d+1,).
        cells: Of the key box.
        index: Receives the vertices around each pixel, by remainder, (B*N, d+1).
        weight: Receives its barycentric coordinates, (B*N, d+1).

    Returns:
        Number of vertices of each image; key and sum of weights of each, (M,); the vertex below each vertex along each axis or -1, (M, d+1).
    """
    images, axes, pixels = features.shape
    shape = (axes + 1, _TILE)
    cell, offset = np.empty(shape, np.float32), np.empty(shape, np.float32)
    rank, keys = np.empty(shape, np.int32), np.empty(shape, np.int64)
    vertices, slots = np.empty(_FIRST_ROOM, _VERTEX), np.full(_FIRST_ROOM * _SLOTS, -1, np.int32)
    counts = np.zeros(images, np.int64)
    count = 0
    for image in range(images):
        counts[image] = -count
        for begin in range(0, pixels, _TILE):
            end = min(begin + _TILE, pixels)
            places = index[image * pixels + begin : image * pixels + end]
            shares = weight[image * pixels + begin : image * pixels + end]
            tile = features[image, :, begin:end]
            _enclosing_simplex(tile, scales, inverse, cell, offset, rank)
            base = image * (axes + 1) * cells
            _corners(cell, offset, rank, lows, strides, cells, base, keys, shares)
            if count + keys.size > len(vertices):
                vertices, slots = _grown(vertices, count)
            count = _number(keys, shares, vertices, slots, count, places)
        counts[image] += count
    below = np.empty((count, axes + 1), np.int32)
    for vertex in range(count):
        key = vertices[vertex]["key"]
        from_zero = key // cells % (axes + 1) == 0
        key += axes * cells - strides.sum() if from_zero else -cells
        for j in range(axes + 1):
            below[vertex, j] = slots[_slot(vertices, slots, key + strides[j])]
    return counts, vertices[:count], below


@compiled
def _corners(
    cell: Floats,
    offset: Floats,
    rank: Integers,
    lows: Keys,
    strides: Keys,
    cells: int,
    base: int,
    keys: Keys,
    weight: Floats,
) -> None:
    """Keys, from `base` on, and weights of the vertices around a tile of pixels."""
    size, corners = weight.shape
    ordered, step = np.empty(corners, np.float32), np.empty(corners, np.int64)
    for i in range(size):
        key = np.int64(base)
        for j in range(corners):
            ordered[rank[j, i]] = offset[j, i]
            step[rank[j, i]] = strides[j]
            key += (np.int64(cell[j, i]) - lows[j]) * strides[j]
        keys[0, i] = key
        weight[i, 0] = ordered[corners - 1] + (np.float32(1) - ordered[0])
        for r in range(1, corners):
            key += cells - step[corners - r]
            keys[r, i] = key
            weight[i, r] = ordered[corners - 1 - r] - ordered[corners - r]


@compiled
def _enclosing_simplex(
    features: Floats,
    scales: Floats,
    inverse: np.float32,
    cell: Floats,
    offset: Floats,
    rank: Integers,
) -> None:
    """`permutohedral_embed.enclosing_simplex` of a tile of pixels."""
    axes, size = features.shape
    corners = np.float32(axes + 1)
    elevated = np.zeros(cell.shape, np.float32)
    for j in range(axes, 0, -1):
        for i in range(size):
            scaled = features[j - 1, i] * scales[j - 1]
            elevated[j, i] = elevated[0, i] - scaled * np.float32(j)
            elevated[0, i] += scaled
    for j in range(axes + 1):
        for i in range(size):
            cell[j, i] = np.rint(elevated[j, i] * inverse)  # half to even
            offset[j, i] = elevated[j, i] - cell[j, i] * corners
            rank[j, i] = j
    for j in range(axes + 1):
        for k in range(j + 1, axes + 1):
            for i in range(size):
                smaller = np.int32(offset[j, i] < offset[k, i])
                rank[j, i] += smaller
                rank[k, i] -= smaller
    for i in range(size):
        total = np.float32(0)
        for j in range(axes + 1):
            total += cell[j, i]
        for j in range(axes + 1):
            place = rank[j, i] + np.int32(total)
            wrap = np.int32(place < 0) - np.int32(place > axes)
            rank[j, i] = place + wrap * np.int32(axes + 1)
            cell[j, i] += np.float32(wrap)
            offset[j, i] = (elevated[j, i] - cell[j, i] * corners) * inverse


@compiled
def _number(
    keys: Keys,
    weight: Floats,
    vertices: Vertices,
    slots: Integers,
    count: int,
    index: Integers,
) -> int:
    """Vertices of a tile of pixels; returns how many there are now."""
    size, corners = index.shape
    for i in range(size):
        for r in range(corners):
            key = keys[r, i]
            slot = _slot(vertices, slots, key)
            vertex = slots[slot]
            if vertex < 0:
                vertex = slots[slot] = np.int32(count)
                vertices[vertex]["key"] = key
                vertices[vertex]["mass"] = 0
                count += 1
            vertices[vertex]["mass"] += weight[i, r]
            index[i, r] = vertex
    return count


@compiled
def _slot(vertices: Vertices, slots: Integers, key: int) -> np.uint64:
    """Slot of a key in a hash table, or the free one where it may be entered."""
    mask = np.uint64(len(slots) - 1)
    slot = ((np.uint64(key) * _MULTIPLIER) >> np.uint64(32)) & mask
    while slots[slot] >= 0 and vertices[slots[slot]]["key"] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@compiled
def _grown(vertices: Vertices, count: int) -> tuple[Vertices, Integers]:
    """The first `count` vertices in twice the room, and a hash table for as many."""
    room = np.empty(2 * len(vertices), _VERTEX)
    slots = np.full(len(room) * _SLOTS, -1, np.int32)
    for vertex in range(count):
        room[vertex] = vertices[vertex]
        slots[_slot(room, slots, room[vertex]["key"])] = vertex
    return room, slots


@compiled
def connect(below: Integers, mass: Floats, index: Integers, weight: Floats) -> Floats:
    """The blur matrices, each vertex and its neighbours along each axis, and their product.

    Args:
        below: From `enter`, (M, d+1).
        mass: What is to be blurred, (M,); overwritten.
        index: Receives vertex, the one below and the one above, (d+1, M, 3); for a missing one the
            vertex itself.
        weight: Receives 1, 1/2 and 1/2, or 0 for a missing one, (d+1, M, 3).

    Returns:
        The blurred mass, (M,).
    """
    count, axes = below.shape
    blurred = np.empty_like(mass)
    for j in range(axes):
        for vertex in range(count):
            index[j, vertex, 2], weight[j, vertex, 2] = vertex, 0
        for vertex in range(count):
            lower = below[vertex, j]
            index[j, vertex, 0], weight[j, vertex, 0] = vertex, 1
            index[j, vertex, 1], weight[j, vertex, 1] = vertex, 0
            if lower >= 0:
                index[j, vertex, 1], weight[j, vertex, 1] = lower, 0.5
                index[j, lower, 2], weight[j, lower, 2] = vertex, 0.5
        for vertex in range(count):
            one, other = index[j, vertex, 1], index[j, vertex, 2]
            blurred[vertex] = mass[vertex] + mass[one] * weight[j, vertex, 1]
            blurred[vertex] += mass[other] * weight[j, vertex, 2]
        mass, blurred = blurred, mass
    return mass
