"""The position of feature vectors in the permutohedral lattice: simplex, vertices and weights.

This part must agree with the reference bit by bit: the order of the float32 operations,
half-to-even rounding and the rule for equal ranks determine which vertices exist.

References:
    Adams, Baek and Davis 2010, sections 2 and 3 (elevation, simplex, barycentric coordinates).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 1 << 15  # pixels embedded together, so that temporaries fit into a core's cache


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBox:
    """Mixed-radix numbering of the lattice points of one remainder and one image.

    A point with remainder r has d+1 coordinates (d+1) u_i + r whose u_i sum to -r. So one u_i is
    redundant, and that with the widest range is dropped (stride 0). One unused value per digit
    prevents a neighbour outside the box from getting the key of a point in the next row.

    Attributes:
        strides: Key step of each u_i, d+1 integers.
        lows: Lowest u_i.
        cells: Number of keys.
    """

    strides: tuple[int, ...]
    lows: tuple[int, ...]
    cells: int


def key_box(flat: Tensor) -> KeyBox:
    """The box around all lattice points adjacent to features (d, P)."""
    axes = flat.shape[0]
    extremes = torch.stack([flat.amin(1), flat.amax(1)]).double().cpu()
    low, high = (extremes * torch.tensor(feature_scales(axes), dtype=torch.float64)).tolist()
    bounds = []
    for j in range(axes + 1):
        least, most = sum(low[j:]), sum(high[j:])
        if j:
            least -= j * high[j - 1]
            most -= j * low[j - 1]
        # Rounded to the cell; -1 for the wrap of the rank, -1 for the vertex; +1 for the wrap.
        bounds.append((math.floor(least / (axes + 1)) - 2, math.ceil(most / (axes + 1)) + 1))
    ranges = [most - least + 2 for least, most in bounds]
    dropped = max(range(axes + 1), key=ranges.__getitem__)
    strides, cells = [0] * (axes + 1), 1
    for j in reversed(range(axes + 1)):
        if j != dropped:
            strides[j] = cells
            cells *= ranges[j]
    return KeyBox(strides=tuple(strides), lows=tuple(least for least, _ in bounds), cells=cells)


def embed(flat: Tensor, box: KeyBox) -> tuple[Tensor, Tensor]:
    """Vertices around each pixel, and its barycentric coordinates.

    Args:
        flat: Features, (d, P).
        box: From `key_box(flat)`.

    Returns:
        Keys, (d+1, P), row r for the vertex of remainder r, in [0, box.cells), int32 or int64;
        weights, (d+1, P), in [0, 1], summing to 1 up to rounding.
    """
    axes, total = flat.shape
    dtype = torch.int32 if box.cells < 1 << 31 else torch.int64
    keys = flat.new_empty(axes + 1, total, dtype=dtype)
    weights = flat.new_empty(axes + 1, total)
    chunk = _CHUNK if flat.device.type == "cpu" else total
    for first in range(0, total, chunk):
        part = slice(first, first + chunk)
        cell, rank, offset = enclosing_simplex(flat[:, part])
        place = rank.long()  # the coordinate of rank k is moved to row k
        ordered = torch.empty_like(offset).scatter_(0, place, offset)
        torch.sub(ordered[:-1].flip(0), ordered[1:].flip(0), out=weights[1:, part])
        torch.add(ordered[-1], 1 - ordered[0], out=weights[0, part])
        _write_keys(keys[:, part], cell.to(dtype), place, box)
    return keys, weights


def _write_keys(keys: Tensor, cell: Tensor, place: Tensor, box: KeyBox) -> None:
    """Keys of the d+1 vertices: from one vertex to the next, one coordinate decreases by a cell."""
    steps = cell.new_tensor(box.strides)[:, None]
    ordered = torch.empty_like(cell).scatter_(0, place, steps.expand_as(cell))
    digits = cell.sub_(cell.new_tensor(box.lows)[:, None])
    torch.sum(digits.mul_(steps), 0, dtype=cell.dtype, out=keys[0])
    for r in range(1, cell.shape[0]):
        torch.sub(keys[r - 1], ordered[-r], out=keys[r])


def feature_scales(axes: int) -> list[float]:
    """Scale of each feature before elevation, rounded to float32 as in the reference."""
    inverse_std = _single(math.sqrt(2.0 / 3.0) * (axes + 1))
    return [_single(inverse_std / math.sqrt((i + 1) * (i + 2))) for i in range(axes)]


def _single(value: float) -> float:
    return torch.tensor(value, dtype=torch.float32).item()


def enclosing_simplex(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Elevate features (d, P) and find the simplex around each.

    Returns:
        Cell of the remainder-0 vertex (its coordinates over d+1), (d+1, P), integral floats; rank
        of each coordinate, (d+1, P), int8; offset from that vertex over d+1, (d+1, P).
    """
    axes = features.shape[0]
    elevated = features.new_empty(axes + 1, features.shape[1])
    partial = torch.zeros_like(features[0])
    for j, scale in reversed(list(enumerate(feature_scales(axes), start=1))):
        scaled = features[j - 1] * scale
        torch.sub(partial, scaled * j, out=elevated[j])
        partial = partial + scaled
    elevated[0] = partial
    inverse = _single(1 / (axes + 1)) if features.dtype == torch.float32 else 1 / (axes + 1)
    cell = (elevated * inverse).round_()  # half to even
    rank = _ranks(elevated - cell * (axes + 1))
    rank += cell.sum(0).to(torch.int8)
    wrap = (rank < 0).to(torch.int8) - (rank > axes).to(torch.int8)
    rank += wrap * (axes + 1)
    cell += wrap
    return cell, rank, elevated.sub_(cell * (axes + 1)).mul_(inverse)


def _ranks(rest: Tensor) -> Tensor:
    """Number of larger coordinates, (d+1, P), int8; of equal ones the first counts as larger."""
    count = rest.shape[0]
    rank = torch.arange(count, dtype=torch.int8, device=rest.device)[:, None]
    rank = rank.repeat(1, rest.shape[1])
    for i, j in itertools.combinations(range(count), 2):
        smaller = (rest[i] < rest[j]).view(torch.int8)
        rank[i] += smaller
        rank[j] -= smaller
    return rank
