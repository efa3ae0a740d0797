"""The mean-field update on rows of pixels, arranged for a CPU's cache.

It is separate from `mean_field.py`, because it needs no images, maps or configs.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

from weakclip.crf.permutohedral import SparseRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.crf.permutohedral import Lattice

_CHUNK_FLOATS = 1 << 19  # pixels x labels normalised together on a core, to fit its cache
_ALIGNED = 64  # a multiple of the values that a vectorised function processes at once
_GRAIN = 1 << 15  # fewest values that torch assigns to a thread
_KEPT = 1 << 22  # largest array, in values, that is kept for the next call
_TABLE_FLOATS = 1 << 26  # vertices x labels splatted and blurred together
_WIDE = 16  # floats of the pixels that one row of the summing matrix product covers


_memory = threading.local()


def _kept(name: str, shape: tuple[int, int], like: Tensor) -> Tensor:
    """An array that a thread keeps between calls; a new one if it is large or not on a CPU."""
    size = math.prod(shape)
    if like.device.type != "cpu" or size > _KEPT:
        return like.new_empty(shape)
    held = getattr(_memory, name, None)
    if held is None or len(held) < size or held.dtype != like.dtype:
        with torch.inference_mode(mode=False):
            held = like.new_empty(size)
        setattr(_memory, name, held)
    return held[:size].view(shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Message:
    """The message of a term to the logits: factor x D K D Q, times a matrix unless it is Potts.

    Attributes:
        lattice: Filter of all images of the call.
        factor: Weight of a Potts term, or factor of `mixing`; applied when the pixels gather.
        mixing: Symmetric matrix, (L, L), or None for Potts.
    """

    lattice: Lattice
    factor: float
    mixing: Tensor | None

    def to_vertices(self, marginals: Tensor, out: Tensor) -> None:
        """Splat and blur marginals (B*N, L), and mix their labels; writes vertex values (M, L)."""
        labels = marginals.shape[1]
        block = max(1, _TABLE_FLOATS // len(out))
        if block >= labels:
            out.copy_(self.lattice.to_vertices(marginals))
        else:
            for some in (slice(first, first + block) for first in range(0, labels, block)):
                out[:, some] = self.lattice.to_vertices(marginals[:, some].contiguous())
        if self.mixing is not None:
            out.copy_(out @ self.mixing)


class Update:
    """Mean-field updates: the sum of all messages and the unary, normalised.

    The values of all vertices and the logits of the unary are in one table, so that the input of
    each pixel is one row of a sparse matrix times the table. The large arrays are allocated once:
    first access to new memory costs as much as an iteration.
    """

    def __init__(self, messages: Sequence[Message], unary: Tensor) -> None:
        """Prepare what all iterations need.

        Args:
            messages: At least one; one per term.
            unary: Energies, (B, L, H, W).
        """
        lattices = [message.lattice for message in messages]
        self._unary, self._messages = unary, messages
        self._first = list(accumulate((x.vertices for x in lattices), initial=0))
        pixels, labels = lattices[0].pixels, unary.shape[1]
        self._table = _kept("table", (self._first[-1] + pixels, labels), unary)
        self._logits = self._table[self._first[-1] :]
        self._marginals = _kept("marginals", (pixels, labels), unary)
        self._parts = _parts(self._logits, len(unary))

    def _all_corners(self, scale: float) -> SparseRows:
        """Matrix by which pixels gather from the table: corners of all lattices, and own logits."""
        corners = [message.lattice.corners for message in self._messages]
        shape = len(self._logits), sum(corners) + 1
        index = _kept("index", shape, self._messages[0].lattice.slice.index)
        weight = _kept("weight", shape, self._logits)
        columns = zip(
            index.split_with_sizes([*corners, 1], 1),
            weight.split_with_sizes([*corners, 1], 1),
            strict=True,
        )
        for message, first, (places, factors) in zip(
            self._messages, self._first, columns, strict=False
        ):
            corner = message.lattice.slice
            torch.add(corner.index.view(places.shape), first, out=places)
            torch.mul(corner.weight.view(factors.shape), message.factor * scale, out=factors)
        index[:, -1] = torch.arange(self._first[-1], len(self._table), device=index.device)
        weight[:, -1] = 1
        return SparseRows.equal(index, weight)

    def run(self, iterations: int, kind: type[BaseTwo | Shifted]) -> Tensor | None:
        """Marginals (B, L, H, W), or None if this softmax cannot represent the values."""
        self._fill(kind.scale)
        softmax = kind(self._marginals, len(self._unary))
        gather = self._all_corners(kind.scale)
        for part in self._parts:
            softmax.normalise(self._logits[part].clone(), part)
        for _ in range(iterations):
            for message, (first, end) in zip(self._messages, pairwise(self._first), strict=True):
                message.to_vertices(self._marginals, self._table[first:end])
            for part in self._parts:
                softmax.normalise(gather.part(part.start, part.stop).apply(self._table), part)
            if not softmax.in_range():
                return None
        return self._maps()

    def _fill(self, scale: float) -> None:
        """Logits from energies, shifted so that each pixel's largest is 0, against underflow."""
        energies = self._unary.flatten(2)
        logits, spare = self._by_image(self._logits), self._by_image(self._marginals)
        maps = spare.view(energies.shape)
        torch.sub(energies.amin(1, keepdim=True), energies, out=maps)
        torch.mul(maps.transpose(1, 2), scale, out=logits)

    def _maps(self) -> Tensor:
        """The marginals as (B, L, H, W)."""
        rows = self._by_image(self._marginals)
        found = self._unary.new_empty(self._unary.shape)
        found.flatten(2).transpose(1, 2).copy_(rows)
        return found

    def _by_image(self, rows: Tensor) -> Tensor:
        """Rows of all pixels, (B*N, L), as (B, N, L)."""
        return rows.view(len(self._unary), -1, rows.shape[1])


def _parts(logits: Tensor, images: int) -> list[slice]:
    """Ranges of pixels that are normalised together.

    On a CPU they fit into its cache. The result for an image must not depend on its neighbours in
    the batch, but vectorised functions round differently at the ends of an array. Images share a
    range only if there are no such ends.
    """
    total, labels = logits.shape
    if logits.device.type != "cpu":
        return [slice(0, total)]
    pixels = total // images
    size = max(1, _CHUNK_FLOATS // labels // _WIDE) * _WIDE * torch.get_num_threads()
    together = max(1, min(images, size // pixels))
    if not all(_no_ends(n * pixels * labels) for n in (1, together, images % together)):
        together = 1
    return [
        slice(first, min(first + size, begin + together * pixels, total))
        for begin in range(0, total, together * pixels)
        for first in range(begin, min(begin + together * pixels, total), size)
    ]


def _no_ends(values: int) -> bool:
    """Whether torch gives every thread complete vectors, for an array of this many values."""
    threads = max(1, min(torch.get_num_threads(), -(-values // _GRAIN)))
    return values % (_ALIGNED * threads) == 0


class Shifted:
    """The usual softmax, for any logits."""

    scale = 1.0

    def __init__(self, marginals: Tensor, images: int) -> None:
        """Store the array for the marginals of all images, (B*N, L)."""
        del images
        self._marginals = marginals

    def normalise(self, logits: Tensor, part: slice) -> None:
        """Marginals of a range of pixels from their logits, (P, L)."""
        torch.softmax(logits, 1, out=self._marginals[part])

    def in_range(self) -> bool:
        """True: it has no limits."""
        return True


class BaseTwo:
    """Softmax of base-2 logits without subtracting the largest, which costs more than the rest.

    On some CPUs exp2 takes a third of the time of exp. torch reduces short rows slowly, so the sums
    are computed by a matrix product; with few labels, for several pixels per row and repeated as
    often as the division needs them. The sums show whether the subtraction was necessary.
    """

    scale = math.log2(math.e)

    def __init__(self, marginals: Tensor, images: int) -> None:
        """Store the array for the marginals of all images, (B*N, L)."""
        labels = marginals.shape[1]
        beside = _WIDE
        while beside > 1 and (beside * labels > _WIDE or len(marginals) // images % beside):
            beside //= 2
        ones = marginals.new_ones(labels, labels if beside > 1 else 1)
        self._beside = beside
        self._summing = torch.kron(torch.eye(beside, dtype=ones.dtype), ones)
        self._marginals = marginals.view(-1, beside * labels)
        self._in_range = True

    def normalise(self, logits: Tensor, part: slice) -> None:
        """Marginals of a range of pixels from their logits, (P, L), which are overwritten."""
        rows = slice(part.start // self._beside, part.stop // self._beside)
        powers = logits.exp2_().view(rows.stop - rows.start, -1)
        sums = powers @ self._summing
        torch.div(powers, sums, out=self._marginals[rows])
        least, most = sums.aminmax()
        self._in_range &= float(least) > 1e-25 and float(most) < 1e35  # false for NaN

    def in_range(self) -> bool:
        """Whether all sums so far were finite and far from the limits of float32."""
        return self._in_range
