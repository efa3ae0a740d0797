"""The permutohedral lattice: Gaussian filtering of many label maps in five dimensions.

It is independent of labels and energies: features define a sparse linear operator (splat, blur
along d+1 axes, slice) that is built once and applied any number of times. Rounding, ranks and ties,
and the order of operations, are those of the C++ code that all papers of the field used, because
different rounding gives a different function. Everything is done by sorting, gathering and
`embedding_bag`, so it runs on any device.

References:
    Adams, Baek and Davis 2010, "Fast high-dimensional filtering using the permutohedral lattice".
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import embedding_bag

from weakclip.crf.permutohedral_keys import sort_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseRows:
    """A sparse matrix stored by rows.

    Row i of its product with a table is the sum of `weight[e] * table[index[e]]` over the entries
    start[i]:start[i+1].

    Attributes:
        index: Columns, (E,), int32.
        weight: Values, (E,).
        start: First entry of each row, and finally E, (R + 1,), int32.
    """

    index: Tensor
    weight: Tensor
    start: Tensor

    def apply(self, table: Tensor) -> Tensor:
        """Product with `table`, (C, L); returns (R, L)."""
        return embedding_bag(
            self.index,
            table,
            self.start,
            mode="sum",
            per_sample_weights=self.weight,
            include_last_offset=True,
        )

    def rows(self, first: int, last: int, *, column: int) -> SparseRows:
        """Rows first:last as a separate block; `column` is subtracted from the column numbers."""
        begin, end = int(self.start[first]), int(self.start[last])
        return SparseRows(
            index=self.index[begin:end] - column,
            weight=self.weight[begin:end].clone(),
            start=self.start[first : last + 1] - begin,
        )

    @classmethod
    def equal(cls, index: Tensor, weight: Tensor) -> SparseRows:
        """A matrix whose rows have the same length, from columns and values (R, length)."""
        start = equal_starts(len(index), index.shape[1], index.device)
        return cls(index=index.view(-1), weight=weight.view(-1), start=start)

    @property
    def length(self) -> int:
        """Entries of each row of a matrix made by `equal`."""
        return self.index.shape[0] // (self.start.shape[0] - 1)

    def part(self, first: int, last: int) -> SparseRows:
        """Rows first:last of a matrix made by `equal`, sharing its memory."""
        entries = slice(first * self.length, last * self.length)
        return SparseRows(
            index=self.index[entries],
            weight=self.weight[entries],
            start=self.start[: last - first + 1],
        )

    def to(self, device: torch.device | str) -> SparseRows:
        """The same matrix on `device`."""
        return SparseRows(
            index=self.index.to(device), weight=self.weight.to(device), start=self.start.to(device)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VertexFilter:
    """Splat and blur, as matrix products.

    Attributes:
        splat: One row per vertex.
        blur: The matrices of all d+1 axes, stacked: (d+1) M rows of three entries.
    """

    splat: SparseRows
    blur: SparseRows

    def apply(self, rows: Tensor) -> Tensor:
        """Pixel values (B*N, L) to vertex values (M, L)."""
        values = self.splat.apply(rows)
        count = len(values)
        for first in range(0, len(self.blur.start) - 1, count):
            values = self.blur.part(first, first + count).apply(values)
        return values


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: `vertex_filter` is cached
class Lattice:
    """Normalised filter D K D of B images of N pixels, block-diagonal over the images.

    Attributes:
        vertex_counts: Number of lattice points of each image, B integers.
        slice: The d+1 vertices around each pixel, weighted by barycentric coordinate times the
            pixel's D: B*N rows of d+1 entries.
        splat: Its transpose, one row per vertex. None if not computed: compiled loops splat along
            the rows of `slice`.
        beside: The vertices below and above each vertex along each axis, or the vertex itself if
            there is none, (d+1, M, 2), int32.
    """

    vertex_counts: tuple[int, ...]
    slice: SparseRows
    splat: SparseRows | None
    beside: Tensor

    def __len__(self) -> int:
        return len(self.vertex_counts)

    def __getitem__(self, image: int) -> Lattice:
        """The lattice of one image, copied."""
        images = len(self)
        if not -images <= image < images:
            raise IndexError(f"image {image} of a lattice of {images} images")
        image %= images
        if images == 1:
            return self
        pixels = self.pixels // images
        first = sum(self.vertex_counts[:image])
        last = first + self.vertex_counts[image]
        return replace(
            self,
            vertex_counts=(self.vertex_counts[image],),
            slice=self.slice.rows(image * pixels, (image + 1) * pixels, column=first),
            splat=self.splat and self.splat.rows(first, last, column=image * pixels),
            beside=self.beside[:, first:last] - first,
        )

    def to(self, device: torch.device | str) -> Lattice:
        """The same lattice on `device`."""
        return replace(
            self,
            slice=self.slice.to(device),
            splat=self.splat and self.splat.to(device),
            beside=self.beside.to(device),
        )

    @cached_property
    def vertex_filter(self) -> VertexFilter:
        """Splat and blur, V + (V[below] + V[above]) / 2 along each axis; made at first access.

        A missing neighbour is the vertex itself with weight 0, because rows of equal length are
        summed twice as fast as rows of different lengths.
        """
        axes, count, _ = self.beside.shape
        here = torch.arange(count, dtype=torch.int32, device=self.beside.device)
        index = self.beside.new_empty(axes, count, 3)
        weight = self.slice.weight.new_ones(axes, count, 3)
        index[..., 0], index[..., 1:] = here, self.beside
        torch.mul(self.beside != here[:, None], 0.5, out=weight[..., 1:])
        return VertexFilter(
            splat=self._transposed() if self.splat is None else self.splat,
            blur=SparseRows.equal(index.view(-1, 3), weight.view(-1, 3)),
        )

    def _transposed(self) -> SparseRows:
        """The splat matrix, computed from `slice`."""
        _, entry = sort_rows(self.slice.index)
        ends = torch.bincount(self.slice.index, minlength=self.vertices).cumsum(0)
        return SparseRows(
            index=entry // self.corners,
            weight=self.slice.weight.index_select(0, entry),
            start=torch.cat([ends.new_zeros(1), ends]).int(),
        )

    def to_vertices(self, rows: Tensor) -> Tensor:
        """Splat and blur pixel values (B*N, L) to vertex values (M, L)."""
        return self.vertex_filter.apply(rows)

    def to_pixels(self, values: Tensor) -> Tensor:
        """Slice vertex values (M, L) to pixel values (B*N, L)."""
        return self.slice.apply(values)

    @property
    def pixels(self) -> int:
        """Number of pixels of all images, B*N."""
        return self.slice.start.shape[0] - 1

    @property
    def vertices(self) -> int:
        """Number of vertices of all images, M."""
        return sum(self.vertex_counts)

    @property
    def corners(self) -> int:
        """Number of vertices around a pixel, d+1."""
        return self.slice.length

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        matrices = (self.slice,) if self.splat is None else (self.slice, self.splat)
        return self.beside.nbytes + sum(
            tensor.nbytes
            for matrix in matrices
            for tensor in (matrix.index, matrix.weight, matrix.start)
        )


def equal_starts(rows: int, length: int, device: torch.device) -> Tensor:
    """Offsets of rows of equal length, and the end, (rows + 1,), int32."""
    return torch.arange(0, rows * length + 1, length, dtype=torch.int32, device=device)


def pixel_scale(mass: Tensor, corners: int) -> Tensor:
    """D = 1/sqrt(K 1) of each pixel, from K 1 of the unscaled weights, which is overwritten.

    D includes the factor of the lattice's filter, 1 / (1 + 2^-d).
    """
    alpha = 1 / (1 + 2.0 ** (1 - corners))
    return mass.mul_(alpha).add_(1e-20).rsqrt_().mul_(math.sqrt(alpha))


def join(lattices: Sequence[Lattice]) -> Lattice:
    """One block-diagonal lattice of the images of several lattices, in order."""
    if len(lattices) == 1:
        return lattices[0]
    columns = list(itertools.accumulate((sum(x.vertex_counts) for x in lattices), initial=0))
    pixels = list(itertools.accumulate((x.pixels for x in lattices), initial=0))
    splats = [x.splat for x in lattices if x.splat is not None]
    return Lattice(
        vertex_counts=tuple(n for x in lattices for n in x.vertex_counts),
        slice=_join_rows([x.slice for x in lattices], columns),
        splat=_join_rows(splats, pixels) if len(splats) == len(lattices) else None,
        beside=torch.cat([x.beside + c for x, c in zip(lattices, columns, strict=False)], 1),
    )


def _join_rows(parts: Sequence[SparseRows], columns: Sequence[int]) -> SparseRows:
    """Block-diagonal matrix; `columns` is the first column of each block."""
    entries = itertools.accumulate((x.index.shape[0] for x in parts), initial=0)
    starts = [x.start[:-1] + e for x, e in zip(parts, entries, strict=False)]
    end = starts[-1].new_tensor([sum(x.index.shape[0] for x in parts)])
    return SparseRows(
        index=torch.cat([x.index + c for x, c in zip(parts, columns, strict=False)]),
        weight=torch.cat([x.weight for x in parts]),
        start=torch.cat([*starts, end]),
    )
