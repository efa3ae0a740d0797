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

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.ops.crf_lattices import pixel_order
from weakclip.ops.mean_field_kernels import Image, Term, blur, blur_axis, collect, iterate, update
from weakclip.ops.mean_field_update import kept
from weakclip.ops.simd import Lanes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from weakclip.ops.crf_lattices import Lattices
    from weakclip.ops.crf_terms import CRFConfig
    from weakclip.ops.mean_field_kernels import Floats, Places
    from weakclip.ops.permutohedral import Lattice

_LANES = (4, 8, 16, 24)  # labels in a vector
_PIECE = 1 << 15  # pixels of an image that are worth a thread
_MANY = 1 << 18  # values of a term's vertices that are worth several threads
_KEPT = 1 << 23  # floats that a thread keeps for its next call


def infer(unary: Tensor, lattices: Sequence[Lattices], config: CRFConfig) -> Tensor:
    """Marginals after `config.iterations` mean-field updates.

    Small images are spread over torch's number of threads, large ones go one after the other in
    pieces, so that an image gets the same bits alone and in a batch.

    Args:
        unary: Energies, (B, L, H, W), float32, on a CPU.
        lattices: Of these images, in order.
        config: One term or more, with a number each for a weight.

    Returns:
        (B, L, H, W).
    """
    unary = unary.contiguous()
    found = torch.empty_like(unary)
    threads, order = torch.get_num_threads(), pixel_order(*unary.shape[2:], unary.device)
    call = _Call(
        weights=[np.float32(x.weight) for x in config.terms if isinstance(x.weight, float)],
        iterations=config.iterations,
        order=np.empty(0, np.int64) if order is None else order.numpy(),
        lanes=Lanes(next((n for n in _LANES if unary.shape[1] <= n), _LANES[-1])),
        pieces=max(1, min(threads, unary[0, 0].numel() // _PIECE)),
    )
    singles = ((part, image) for part in lattices for image in range(len(part)))
    maps = zip(unary.flatten(2).numpy(), found.flatten(2).numpy(), strict=True)
    tasks = [
        partial(call.solve, *single, *both) for single, both in zip(singles, maps, strict=True)
    ]
    spread(tasks, threads if call.pieces == 1 else 1)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What all images of a call share.

    Attributes:
        weights: Of the terms.
        iterations: Updates.
        order: Pixels in the order of the lattices, or none.
        lanes: Labels in a vector.
        pieces: In how many pieces, each for a thread, the pixels of an image are taken.
    """

    weights: list[np.float32]
    iterations: int
    order: Places
    lanes: Lanes
    pieces: int

    def solve(self, part: Lattices, image: int, unary: Floats, found: Floats) -> None:
        """Write the marginals (L, N) of one image of some lattices to `found`."""
        task = self._image(part, image, unary, found)
        if self.pieces == 1:
            iterate(task, self.lanes)
            return
        ranges = list(enumerate(_ranges(len(task.logits), self.pieces)))
        many = [term for term in task.terms if term.tables[0].size >= _MANY]
        few = [term for term in task.terms if term.tables[0].size < _MANY]
        for step in range(task.iterations + 1):
            run = partial(update, task, self.lanes, step)
            spread([partial(run, piece, *some) for piece, some in ranges], self.pieces)
            if step < task.iterations:
                spread([partial(blur, term, self.lanes) for term in few], self.pieces)
                for term in many:
                    self._blur_in_pieces(term)

    def _blur_in_pieces(self, term: Term) -> None:
        """What `blur` does, the vertices in pieces."""
        ranges = _ranges(term.tables.shape[1], self.pieces)
        axes = [partial(blur_axis, term, self.lanes, axis) for axis in range(len(term.beside))]
        for run in (partial(collect, term, self.lanes), *axes):
            spread([partial(run, *some) for some in ranges], self.pieces)

    def _image(self, part: Lattices, image: int, unary: Floats, found: Floats) -> Image:
        """The image, in memory of this thread."""
        own = [image if len(lattice) > 1 else 0 for lattice in part.terms]  # or one for all images
        pixels, lanes = unary.shape[1], len(self.lanes)
        wide = -(-len(unary) // lanes) * lanes
        counts = [x.vertex_counts[i] for x, i in zip(part.terms, own, strict=True)]
        sizes = [pixels * wide, *((self.pieces + 2) * count * wide for count in counts)]
        memory = kept("loops", (1, sum(sizes)), torch.empty(0), _KEPT).numpy()[0]
        logits, *tables = np.split(memory, np.cumsum(sizes)[:-1])
        shaped = (x.reshape(self.pieces + 2, -1, wide) for x in tables)
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
        beside=lattice.axes(lattice.blur.index).numpy(),
        first=np.uint64(sum(lattice.vertex_counts[:image])),
        factor=weight,
        tables=tables,
    )


def _ranges(count: int, pieces: int) -> list[tuple[int, int]]:
    """First and end of some nearly equal parts of a range."""
    return list(pairwise(count * piece // pieces for piece in range(pieces + 1)))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that wait for loops to run."""
    return ThreadPoolExecutor(threads, thread_name_prefix="weakclip-loops")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


def spread(tasks: Sequence[Callable[[], object]], threads: int) -> None:
    """Run independent tasks on this thread and others; each takes the next one that is left."""
    left = iter(tasks)

    def work() -> None:
        for task in left:
            task()

    helpers = min(threads, len(tasks)) - 1
    helping = [_pool(threads - 1).submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        for helper in helping:
            if not helper.cancel():
                helper.result()
