"""The compiled loops of the construction of a lattice.

They run without Python, and are therefore separate from `lattice.py`, which distributes the work.
The arithmetic is that of `permutohedral_embed.py`, operation for operation in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weakclip.crf.compiled.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int32]
    Keys = NDArray[np.int64]
    Vertices = NDArray[np.void]  # of `_VERTEX`

_VERTEX = np.dtype([("key", np.int64), ("mass", np.float32)], align=True)
_TILE = 128  # pixels embedded together, by vector instructions
_FIRST_ROOM = 1 << 13  # largest initial capacity of a hash table, in vertices
_SLOTS = 4  # slots of a hash table per vertex of its capacity
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Fibonacci hashing


class Frame(NamedTuple):
    """Parameters of the embedding, the same for all pixels.

    Attributes:
        scales: Scale of each feature before elevation, (d,).
        inverse: 1 / (d+1).
        lows: Those of the key box, (d+1,).
        strides: Those of the key box, (d+1,).
        cells: Number of keys of the key box.
    """

    scales: Floats
    inverse: np.float32
    lows: Keys
    strides: Keys
    cells: int


class Table(NamedTuple):
    """A hash table of vertices.

    Attributes:
        vertices: Key and sum of weights of each vertex, in the order of their first pixels, and
            unused capacity.
        slots: Number of the vertex in each slot, or -1.
        used: Number of vertices, M.
    """

    vertices: Vertices
    slots: Integers
    used: int


@compiled
def enter(
    features: Floats, frame: Frame, piece: tuple[int, int], index: Integers, weight: Floats
) -> Table:
    """Embed a range of an image's pixels, and number the vertices in the order they are touched.

    Args:
        features: (d, N).
        frame: Parameters of the embedding.
        piece: First pixel and end of the range.
        index: Receives the vertices around each pixel, by remainder, (N, d+1).
        weight: Receives the pixels' barycentric coordinates, (N, d+1).
    """
    shape, pixels = (len(features) + 1, _TILE), piece[1] - piece[0]
    cell, offset = np.empty(shape, np.float32), np.empty(shape, np.float32)
    rank, keys = np.empty(shape, np.int32), np.empty(shape, np.int64)
    vertices, slots = np.empty(0, _VERTEX), np.empty(0, np.int32)
    count = 0
    for begin in range(piece[0], piece[1], _TILE):
        end = min(begin + _TILE, piece[1])
        shares = weight[begin:end]
        _enclosing_simplex(features[:, begin:end], frame, cell, offset, rank)
        _corners(cell, offset, rank, frame, keys, shares)
        if count + keys.size > len(vertices):
            vertices, slots = _grown(vertices, count, min(pixels, _FIRST_ROOM) + keys.size)
        count = _number(keys, shares, vertices, slots, count, index[begin:end])
    return Table(vertices, slots, count)


@compiled
def absorb(table: Table, other: Table, index: Integers) -> Table:
    """Add the vertices of another table to a table; renumbers them in `index`."""
    vertices, slots, count = table
    if count + other.used > len(vertices):
        vertices, slots = _grown(vertices, count, count + other.used)
    number = np.empty(other.used, np.int32)
    for vertex in range(other.used):
        slot = _slot(vertices, slots, other.vertices[vertex]["key"])
        if slots[slot] < 0:
            slots[slot] = np.int32(count)
            vertices[count]["key"] = other.vertices[vertex]["key"]
            vertices[count]["mass"] = 0
            count += 1
        number[vertex] = slots[slot]
        vertices[slots[slot]]["mass"] += other.vertices[vertex]["mass"]
    for pixel in range(len(index)):
        for r in range(index.shape[1]):
            index[pixel, r] = number[index[pixel, r]]
    return Table(vertices, slots, count)


@compiled
def _corners(
    cell: Floats,
    offset: Floats,
    rank: Integers,
    frame: Frame,
    keys: Keys,
    weight: Floats,
) -> None:
    """Keys and weights of the vertices around a tile of pixels."""
    size, corners = weight.shape
    ordered, step = np.empty(corners, np.float32), np.empty(corners, np.int64)
    for i in range(size):
        key = np.int64(0)
        for j in range(corners):
            ordered[rank[j, i]] = offset[j, i]
            step[rank[j, i]] = frame.strides[j]
            key += (np.int64(cell[j, i]) - frame.lows[j]) * frame.strides[j]
        keys[0, i] = key
        weight[i, 0] = ordered[corners - 1] + (np.float32(1) - ordered[0])
        for r in range(1, corners):
            key += frame.cells - step[corners - r]
            keys[r, i] = key
            weight[i, r] = ordered[corners - 1 - r] - ordered[corners - r]


@compiled
def _enclosing_simplex(
    features: Floats,
    frame: Frame,
    cell: Floats,
    offset: Floats,
    rank: Integers,
) -> None:
    """`permutohedral_embed.enclosing_simplex` for a tile of pixels."""
    axes, size = features.shape
    corners, inverse = np.float32(axes + 1), frame.inverse
    elevated = np.zeros(cell.shape, np.float32)
    for j in range(axes, 0, -1):
        for i in range(size):
            scaled = features[j - 1, i] * frame.scales[j - 1]
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
    """Number the vertices of a tile of pixels; returns the new number of vertices."""
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
    """Slot of a key in a hash table, or the free slot for it."""
    mask = np.uint64(len(slots) - 1)
    slot = ((np.uint64(key) * _MULTIPLIER) >> np.uint64(32)) & mask
    while slots[slot] >= 0 and vertices[slots[slot]]["key"] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@compiled
def _grown(vertices: Vertices, count: int, least: int) -> tuple[Vertices, Integers]:
    """Copy the first `count` vertices to a table of capacity `least` or twice the old one."""
    size = max(1, 2 * len(vertices))
    while size < least:
        size *= 2
    room, slots = np.empty(size, _VERTEX), np.full(size * _SLOTS, -1, np.int32)
    for vertex in range(count):
        room[vertex] = vertices[vertex]
        slots[_slot(room, slots, room[vertex]["key"])] = vertex
    return room, slots


@compiled
def find_neighbours(
    table: Table, frame: Frame, vertices: tuple[int, int], first: int, beside: Integers
) -> None:
    """Find the vertex below each of a range of an image's vertices, along each axis.

    Args:
        table: Vertices of the image.
        frame: Parameters of the embedding.
        vertices: First vertex and end of the range.
        first: Number of the image's first vertex among those of all images.
        beside: Neighbours of the vertices of all images, (d+1, M', 2), initially the vertex itself.
            Receives the vertex below and, for that one, the vertex above.
    """
    corners = len(frame.strides)
    wrap = corners * frame.cells - frame.strides.sum()
    for vertex in range(vertices[0], vertices[1]):
        key = table.vertices[vertex]["key"]
        key += (wrap if key < frame.cells else 0) - frame.cells
        for j in range(corners):
            slot = _slot(table.vertices, table.slots, key + frame.strides[j])
            below = table.slots[slot]
            if below >= 0:
                beside[j, first + vertex, 0] = first + below
                beside[j, first + below, 1] = first + vertex


@compiled
def blurred_mass(table: Table, first: int, beside: Integers) -> Floats:
    """Sums of weights of an image's vertices, blurred along all axes, (M,)."""
    mass, half = table.vertices["mass"][: table.used].copy(), np.float32(0.5)
    blurred = np.empty_like(mass)
    for axis in range(len(beside)):
        around = beside[axis, first : first + table.used]
        for vertex in range(table.used):
            below, above = around[vertex, 0] - first, around[vertex, 1] - first
            blurred[vertex] = mass[vertex] + mass[below] * (half * np.float32(below != vertex))
            blurred[vertex] += mass[above] * (half * np.float32(above != vertex))
        mass, blurred = blurred, mass
    return mass
