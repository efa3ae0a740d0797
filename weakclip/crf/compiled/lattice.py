"""Construction of a lattice by loops compiled with numba.

It is separate because it needs numba, an extra (`pip install weakclip[fast]`). Where torch's
operators sort, it passes over the pixels once with a hash table, in a fraction of the time.
Vertices and entries are in the order of `permutohedral_build.py`, and all bits agree, except for
the last bit of the normalisation if several threads process an image in pieces.

References:
    Adams, Baek and Davis 2010, sections 2 and 3.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.crf.compiled.lattice_kernels import (
    Frame,
    absorb,
    blurred_mass,
    enter,
    find_neighbours,
)
from weakclip.crf.compiled.spread import pieces_of, ranges, spread
from weakclip.crf.permutohedral import Lattice, SparseRows, pixel_scale
from weakclip.crf.permutohedral_embed import feature_scales

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.crf.compiled.lattice_kernels import Floats, Integers, Table
    from weakclip.crf.permutohedral_embed import KeyBox


def build(features: Tensor, box: KeyBox) -> Lattice:
    """The normalised lattice of B images.

    Args:
        features: (B, d, N), float32, on a CPU.
        box: `key_box` of all features.
    """
    images, axes, pixels = features.shape
    index = torch.empty(images, pixels, axes + 1, dtype=torch.int32)
    weight = torch.empty(images, pixels, axes + 1)
    frame = Frame(
        scales=np.array(feature_scales(axes), np.float32),
        inverse=np.float32(1 / (axes + 1)),
        lows=np.array(box.lows),
        strides=np.array(box.strides),
        cells=box.cells,
    )
    pieces = pieces_of(pixels)
    embedded = index.numpy(), weight.numpy()
    tables = _number_pixels(features.contiguous().numpy(), frame, pieces, *embedded)
    counts = tuple(table.used for table in tables)
    ends = list(accumulate(counts, initial=0))
    for number, first in enumerate(ends[1:-1], 1):
        index[number] += first
    beside, masses = _connect_vertices(tables, ends, frame, len(pieces))
    slices = SparseRows.equal(index.view(-1, axes + 1), weight.view(-1, axes + 1))
    mass = torch.from_numpy(np.concatenate(masses))[:, None]
    slices.weight.view(-1, axes + 1).mul_(pixel_scale(slices.apply(mass), axes + 1))
    return Lattice(vertex_counts=counts, slice=slices, splat=None, beside=beside)


def _number_pixels(
    features: Floats,
    frame: Frame,
    pieces: Sequence[tuple[int, int]],
    index: Integers,
    weight: Floats,
) -> list[Table]:
    """Vertices of each image, and those around each pixel; images are processed in pieces."""
    tasks = [
        partial(enter, image, frame, piece, places, shares)
        for image, places, shares in zip(features, index, weight, strict=True)
        for piece in pieces
    ]
    found = iter(spread(tasks))
    tables = []
    for places in index:
        table = next(found)
        for first, end in pieces[1:]:
            table = absorb(table, next(found), places[first:end])
        tables.append(table)
    return tables


def _connect_vertices(
    tables: Sequence[Table], ends: Sequence[int], frame: Frame, pieces: int
) -> tuple[Tensor, list[Floats]]:
    """Neighbours of the vertices of all images, and the blurred sums of weights of each image."""
    itself = torch.arange(ends[-1], dtype=torch.int32)[:, None]
    beside = itself.repeat(len(frame.strides), 1, 2)
    images = list(zip(tables, ends, strict=False))
    spread(
        [
            partial(find_neighbours, table, frame, some, first, beside.numpy())
            for table, first in images
            for some in ranges(table.used, pieces)
        ]
    )
    return beside, spread([partial(blurred_mass, *image, beside.numpy()) for image in images])
