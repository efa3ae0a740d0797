"""Mean-field inference by loops compiled with numba.

It is separate because it needs numba, an extra (`pip install weakclip[fast]`). torch's operators
read the corners of all pixels twice per iteration, to slice and to splat, with intermediate results
in memory; a compiled loop keeps some pixels in the cache for all steps. Results differ by rounding.

References:
    Krähenbühl and Koltun 2011, "Efficient inference in fully connected CRFs with Gaussian edge
    potentials".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.crf.compiled.mean_field_kernels import (
    Image,
    Term,
    Unsigned,
    blur,
    blur_axis,
    collect,
    iterate,
    update,
)
from weakclip.crf.compiled.simd import Lanes
from weakclip.crf.compiled.spread import pieces_of, ranges, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.crf.compiled.mean_field_kernels import Floats, Integers
    from weakclip.crf.lattices import Lattices
    from weakclip.crf.permutohedral import Lattice
    from weakclip.crf.terms import CRFConfig

_LANES = (4, 8, 16, 24)  # labels in a vector
_MANY = 1 << 18  # values of a term's vertices from which several threads are worthwhile


def infer(unary: Tensor, lattices: Sequence[Lattices], config: CRFConfig, found: Tensor) -> None:
    """Write the marginals after `config.iterations` mean-field updates to `found`.

    Small images are distributed over torch's number of threads; large ones are processed one after
    the other in pieces. So an image gives the same bits alone and in a batch.

    Args:
        unary: Energies, (B, L, H, W), float32, on a CPU.
        lattices: Lattices of these images, in order.
        config: At least one term; all weights are numbers.
        found: (B, L, H, W), contiguous; may be `unary`.
    """
    unary = unary.contiguous()
    call = _Call(
        weights=[np.float32(x.weight) for x in config.terms if isinstance(x.weight, float)],
        iterations=config.iterations,
        lanes=Lanes(next((n for n in _LANES if unary.shape[1] <= n), _LANES[-1])),
        pieces=pieces_of(unary[0, 0].numel()),
    )
    parts = [(len(part), [_Filter.of(lattice) for lattice in part.terms]) for part in lattices]
    singles = [(filters, image) for images, filters in parts for image in range(images)]
    maps = zip(unary.flatten(2).numpy(), found.flatten(2).numpy(), strict=True)
    each = [(*single, *both) for single, both in zip(singles, maps, strict=True)]
    if len(call.pieces) == 1:
        spread([partial(call.solve, *image) for image in each])
    else:
        for image in each:
            call.solve_in_pieces(*image)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    """The lattice of a term as arrays, for each of B images or the same for all.

    Attributes:
        corners: Vertices around each pixel, (B or 1, N, d+1).
        shares: Their weights, (B or 1, N, d+1).
        beside: Neighbours of all vertices, (d+1, M, 2).
        ends: First vertex of each image, and finally M.
    """

    corners: Integers
    shares: Floats
    beside: Integers
    ends: list[int]

    @classmethod
    def of(cls, lattice: Lattice) -> _Filter:
        """The arrays of a lattice."""
        shape = len(lattice), -1, lattice.corners
        return cls(
            corners=lattice.slice.index.numpy().reshape(shape),
            shares=lattice.slice.weight.numpy().reshape(shape),
            beside=lattice.beside.numpy(),
            ends=list(accumulate(lattice.vertex_counts, initial=0)),
        )

    def own(self, image: int) -> int:
        """Index of an image of the batch in these arrays."""
        return image if len(self.corners) > 1 else 0

    def count(self, image: int) -> int:
        """Number of vertices of an image."""
        own = self.own(image)
        return self.ends[own + 1] - self.ends[own]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """Parameters of a call, the same for all images.

    Attributes:
        weights: Weights of the terms.
        iterations: Number of updates.
        lanes: Labels in a vector.
        pieces: Ranges of pixels for the threads.
    """

    weights: list[np.float32]
    iterations: int
    lanes: Lanes
    pieces: list[tuple[int, int]]

    def solve(self, filters: Sequence[_Filter], image: int, unary: Floats, found: Floats) -> None:
        """Write the marginals (L, N) of one image to `found`."""
        iterate(self._image(filters, image, unary, found), self.lanes)

    def solve_in_pieces(
        self, filters: Sequence[_Filter], image: int, unary: Floats, found: Floats
    ) -> None:
        """The same as `solve`, with several threads."""
        task, lanes = self._image(filters, image, unary, found), self.lanes
        many = [term for term in task.terms if term.tables[0].size >= _MANY]
        few = [term for term in task.terms if term.tables[0].size < _MANY]
        for step in range(self.iterations + 1):
            run = partial(update, task, lanes, step)
            spread([partial(run, *piece) for piece in enumerate(self.pieces)])
            if step < self.iterations:
                spread([partial(blur, term, lanes) for term in few])
                for term in many:
                    self._blur_in_pieces(term)

    def _blur_in_pieces(self, term: Term) -> None:
        """The same as `blur`, with the vertices in pieces."""
        pieces = ranges(term.tables.shape[1], len(self.pieces))
        axes = [partial(blur_axis, term, self.lanes, axis) for axis in range(len(term.beside))]
        for run in (partial(collect, term, self.lanes), *axes):
            spread([partial(run, piece) for piece in pieces])

    def _image(self, filters: Sequence[_Filter], image: int, unary: Floats, found: Floats) -> Image:
        """The image, with working memory."""
        pixels, lanes = unary.shape[1], len(self.lanes)
        wide, tables = -(-len(unary) // lanes) * lanes, len(self.pieces) + 2
        sizes = [pixels * wide, *(tables * x.count(image) * wide for x in filters)]
        ends = list(accumulate(sizes, initial=0))
        memory = torch.empty(ends[-1]).numpy()  # aligned to vectors
        terms = []
        for x, weight, (first, end) in zip(filters, self.weights, pairwise(ends[1:]), strict=True):
            own = x.own(image)
            terms.append(
                Term(
                    corners=x.corners[own],
                    shares=x.shares[own],
                    beside=x.beside,
                    first=Unsigned(x.ends[own]),
                    factor=weight,
                    tables=memory[first:end].reshape(tables, -1, wide),
                )
            )
        return Image(
            unary=unary,
            terms=tuple(terms),
            logits=memory[: ends[1]].reshape(pixels, wide),
            found=found,
            iterations=self.iterations,
        )
