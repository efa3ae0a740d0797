"""Mean-field inference by loops that numba compiles, where it is installed.

Kept apart because it needs numba, an extra (`pip install weakclip[fast]`). By torch's operators
the corners of all pixels are read twice an iteration, to slice and to splat, and what is computed
in between goes through memory; a loop keeps a few pixels in cache for all of it. What comes out
differs by rounding.

References:
    Krähenbühl and Koltun 2011, "Efficient inference in fully connected CRFs with Gaussian edge
    potentials".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.ops.crf_lattices import pixel_order
from weakclip.ops.mean_field_kernels import Image, Term, blur, blur_axis, collect, iterate, update
from weakclip.ops.mean_field_update import kept
from weakclip.ops.simd import Lanes
from weakclip.ops.spread import pieces_of, ranges, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.ops.crf_lattices import Lattices
    from weakclip.ops.crf_terms import CRFConfig
    from weakclip.ops.mean_field_kernels import Floats, Places
    from weakclip.ops.permutohedral import Lattice

_LANES = (4, 8, 16, 24)  # labels in a vector
_MANY = 1 << 18  # values of a term's vertices that are worth several threads
_KEPT = 1 << 23  # floats that a thread keeps for its next call


def infer(unary: Tensor, lattices: Sequence[Lattices], config: CRFConfig, found: Tensor) -> None:
    """Write the marginals after `config.iterations` mean-field updates to `found`.

    Small images are spread over torch's number of threads, large ones go one after the other in
    pieces, so that an image gets the same bits alone and in a batch.

    Args:
        unary: Energies, (B, L, H, W), float32, on a CPU.
        lattices: Of these images, in order.
        config: One term or more, with a number each for a weight.
        found: (B, L, H, W), contiguous; may be `unary`.
    """
    unary = unary.contiguous()
    order = pixel_order(*unary.shape[2:], unary.device)
    call = _Call(
        weights=[np.float32(x.weight) for x in config.terms if isinstance(x.weight, float)],
        iterations=config.iterations,
        order=np.empty(0, np.int64) if order is None else order.numpy(),
        lanes=Lanes(next((n for n in _LANES if unary.shape[1] <= n), _LANES[-1])),
        pieces=pieces_of(unary[0, 0].numel()),
    )
    singles = ((part, image) for part in lattices for image in range(len(part)))
    maps = zip(unary.flatten(2).numpy(), found.flatten(2).numpy(), strict=True)
    each = [(*single, *both) for single, both in zip(singles, maps, strict=True)]
    if len(call.pieces) == 1:
        spread([partial(call.solve, *image) for image in each])
    else:
        for image in each:
            call.solve_in_pieces(*image)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What all images of a call share.

    Attributes:
        weights: Of the terms.
        iterations: Updates.
        order: Pixels in the order of the lattices, or none.
        lanes: Labels in a vector.
        pieces: Pixels of an image that are worth a thread.
    """

    weights: list[np.float32]
    iterations: int
    order: Places
    lanes: Lanes
    pieces: list[tuple[int, int]]

    def solve(self, part: Lattices, image: int, unary: Floats, found: Floats) -> None:
        """Write the marginals (L, N) of one image of some lattices to `found`."""
        iterate(self._image(part, image, unary, found), self.lanes)

    def solve_in_pieces(self, part: Lattices, image: int, unary: Floats, found: Floats) -> None:
        """The same, on several threads."""
        task, lanes = self._image(part, image, unary, found), self.lanes
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
        """What `blur` does, the vertices in pieces."""
        pieces = ranges(term.tables.shape[1], len(self.pieces))
        axes = [partial(blur_axis, term, self.lanes, axis) for axis in range(len(term.beside))]
        for run in (partial(collect, term, self.lanes), *axes):
            spread([partial(run, piece) for piece in pieces])

    def _image(self, part: Lattices, image: int, unary: Floats, found: Floats) -> Image:
        """The image, in memory of this thread."""
        own = [image if len(lattice) > 1 else 0 for lattice in part.terms]  # or one for all images
        pixels, lanes = unary.shape[1], len(self.lanes)
        wide = -(-len(unary) // lanes) * lanes
        counts = [x.vertex_counts[i] for x, i in zip(part.terms, own, strict=True)]
        sizes = [pixels * wide, *((len(self.pieces) + 2) * count * wide for count in counts)]
        memory = kept("loops", (1, sum(sizes)), torch.empty(0), _KEPT).numpy()[0]
        logits, *tables = np.split(memory, np.cumsum(sizes)[:-1])
        shaped = (x.reshape(len(self.pieces) + 2, -1, wide) for x in tables)
        return Image(
            unary=unary,
            order=self.order,
            terms=tuple(map(_term, part.terms, own, self.weights, shaped)),
            logits=logits.reshape(pixels, wide),
            found=found,
            iterations=self.iterations,
        )


def _term(lattice: Lattice, image: int, weight: np.float32, tables: Floats) -> Term:
    """What a term of this weight has for an image of its lattice."""
    corners, shares = (
        entries.view(len(lattice), -1, lattice.corners)[image].numpy()
        for entries in (lattice.slice.index, lattice.slice.weight)
    )
    return Term(
        corners=corners,
        shares=shares,
        beside=lattice.beside.numpy(),
        first=np.uint64(sum(lattice.vertex_counts[:image])),
        factor=weight,
        tables=tables,
    )
