"""Mean-field inference of the dense CRF, for a batch of images of one size.

Kept apart from `crf.py` because it takes energies and lattices: whoever has another unary, or keeps
the lattices of a fixed set of images, starts here.

References:
    Krähenbühl and Koltun 2011, "Efficient inference in fully connected CRFs with Gaussian edge
    potentials".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from weakclip.ops.crf_lattices import Lattices, kind_of, pixel_order, position_lattice
from weakclip.ops.crf_terms import Bilateral, CRFConfig, Gaussian, check_matrix
from weakclip.ops.permutohedral import Lattice, join
from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

_CHUNK_FLOATS = 1 << 17  # CPU: pixels x labels normalised at a time, to stay in a core's cache
_TABLE_FLOATS = 1 << 26  # vertices x labels filtered at a time


@torch.no_grad()
def mean_field(unary: Tensor, lattices: Lattices | Sequence[Lattices], config: CRFConfig) -> Tensor:
    """Marginals after `config.iterations` mean-field updates.

    Args:
        unary: Energies, (B, L, H, W), finite.
        lattices: From `build_lattices`, of the same images in the same order; or a list of single
            ones.
        config: Terms in the order the lattices were built with.

    Returns:
        (B, L, H, W), summing to 1 over L; no gradient flows.

    Raises:
        ValueError: If sizes, terms or devices do not fit each other, or a compatibility matrix is
            not (L, L).
    """
    count, labels, height, width = dims(unary, "B L H W", name="unary")
    if unary.numel() == 0:
        return unary.clone()
    if not math.isfinite(float(unary.sum())):
        raise ValueError("unary: expected finite energies, got NaN or infinity")
    messages = _assemble(lattices, config, unary)
    order = pixel_order(height, width, unary.device)
    on_cpu = unary.device.type == "cpu"
    for softmax in (_BaseTwo(), _Shifted()) if on_cpu else (_Shifted(),):
        # The likeliest label of each pixel gets energy 0, so that nothing underflows.
        logits = (unary.amin(1, keepdim=True) - unary).mul_(softmax.scale).flatten(2)
        rows = _to_rows(logits, order)
        del logits
        marginals = _iterate(rows, messages, config.iterations, softmax)
        if marginals is not None:
            break
    assert marginals is not None  # the last softmax takes any logits
    return _to_maps(marginals, count, order).view(count, labels, height, width)


def _to_rows(maps: Tensor, order: Tensor | None) -> Tensor:
    """(B, L, N) to (B*N, L), the pixels of each image in an order."""
    rows = maps.mT.contiguous()
    return (rows if order is None else rows.index_select(1, order)).flatten(0, 1)


def _to_maps(rows: Tensor, count: int, order: Tensor | None) -> Tensor:
    """(B*N, L) to (B, L, N); undoes `_to_rows`."""
    images = torch.unflatten(rows, 0, (count, -1))
    if order is not None:
        images = torch.empty_like(images).index_copy_(1, order, images)
    return images.mT.contiguous()


def _iterate(
    logits: Tensor, messages: Sequence[_Message], iterations: int, softmax: _BaseTwo | _Shifted
) -> Tensor | None:
    """Marginals (B*N, L) after the updates, or None if `softmax` met numbers out of its range.

    `logits` (B*N, L) are in the units of `softmax`.
    """
    pixels, labels = logits.shape
    size = pixels
    if logits.device.type == "cpu":
        size = max(1, _CHUNK_FLOATS // labels) * torch.get_num_threads()
    parts = [slice(first, first + size) for first in range(0, pixels, size)]
    messages = [message.scaled(softmax.scale) for message in messages]
    marginals = torch.empty_like(logits)
    for part in parts:
        softmax.normalise(logits[part].clone(), marginals[part])
    for _ in range(iterations if messages else 0):
        for part, received in _received(messages, marginals, parts):
            received += logits[part]
            softmax.normalise(received, marginals[part])
        if not softmax.in_range():
            return None
    return marginals


def _received(
    messages: Sequence[_Message], marginals: Tensor, parts: Sequence[slice]
) -> Iterator[tuple[slice, Tensor]]:
    """What each range of pixels receives, (P, L); `marginals` may be overwritten meanwhile.

    With few vertices or labels, all labels are filtered at once and sliced range by range. Else
    the labels are filtered block by block, to bound the memory of the vertex values.
    """
    labels = marginals.shape[1]
    block = max(1, _TABLE_FLOATS // max(sum(m.lattice.vertex_counts) for m in messages))
    if labels <= block:
        tables = [message.to_vertices(marginals) for message in messages]
        for part in parts:
            received = messages[0].to_pixels(tables[0], part)
            for message, table in zip(messages[1:], tables[1:], strict=True):
                received += message.to_pixels(table, part)
            yield part, received
        return
    total = torch.zeros_like(marginals)
    whole = slice(0, len(marginals))
    for first in range(0, labels, block):
        chosen = slice(first, first + block)
        some = marginals[:, chosen].contiguous()
        for message in messages:
            if message.mixing is None:
                total[:, chosen] += message.to_pixels(message.to_vertices(some), whole)
            else:
                mixed = replace(message, mixing=message.mixing[chosen])
                total += mixed.to_pixels(mixed.to_vertices(some), whole)
    yield from ((part, total[part]) for part in parts)


class _Shifted:
    """The usual softmax, right for any logits."""

    scale = 1.0

    def normalise(self, logits: Tensor, out: Tensor) -> None:
        """Softmax over the last axis of (P, L)."""
        torch.softmax(logits, 1, out=out)

    def in_range(self) -> bool:
        """Always."""
        return True


class _BaseTwo:
    """Softmax of base-2 logits without the shift by the largest, which costs more than the rest.

    On a CPU exp2 takes a third of the time of exp, and torch reduces short rows slowly: the sums
    are a matrix product. The sums tell whether the shift was needed.
    """

    scale = math.log2(math.e)

    def __init__(self) -> None:
        self._sums: list[Tensor] = []

    def normalise(self, logits: Tensor, out: Tensor) -> None:
        """Softmax over the last axis of (P, L); overwrites `logits`."""
        logits.exp2_()
        sums = logits @ logits.new_ones(logits.shape[1], 1)
        self._sums.append(sums)
        torch.div(logits, sums, out=out)

    def in_range(self) -> bool:
        """Whether all sums since the last call were numbers far from the ends of float32."""
        sums = torch.cat(self._sums)
        self._sums.clear()
        return float(sums.amin()) > 1e-25 and float(sums.amax()) < 1e35


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Message:
    """What one term adds to the logits.

    Attributes:
        lattice: Filter of all images of the call.
        weight: Factor of a Potts term; 1 with `mixing`.
        mixing: Minus the compatibility matrix, (L, L), or None for Potts.
    """

    lattice: Lattice
    weight: float
    mixing: Tensor | None

    def scaled(self, scale: float) -> _Message:
        """The message times `scale`, with all factors folded into the weights of the lattice."""
        matrix = self.lattice.slice
        matrix = replace(matrix, weight=matrix.weight * (self.weight * scale))
        return replace(self, lattice=replace(self.lattice, slice=matrix))

    def to_vertices(self, marginals: Tensor) -> Tensor:
        """Blurred and mixed vertex values (M, L) of marginals (B*N, L)."""
        values = self.lattice.to_vertices(marginals)
        return values if self.mixing is None else values @ self.mixing

    def to_pixels(self, table: Tensor, part: slice) -> Tensor:
        """What a range of pixels (P, L) receives."""
        return self.lattice.to_pixels(table, part.start, part.stop)


def _message(term: Gaussian | Bilateral, lattice: Lattice, labels: int) -> _Message:
    if isinstance(term.weight, float):
        return _Message(lattice=lattice, weight=term.weight, mixing=None)
    check_matrix(term.weight, labels)
    penalty = lattice.slice.weight.new_tensor(term.weight)
    return _Message(lattice=lattice, weight=1.0, mixing=-(penalty + penalty.T) / 2)


def _assemble(
    lattices: Lattices | Sequence[Lattices], config: CRFConfig, unary: Tensor
) -> list[_Message]:
    """One message per term for all images of the call."""
    count, labels, height, width = unary.shape
    parts = [lattices] if isinstance(lattices, Lattices) else list(lattices)
    if sum(len(part) for part in parts) != count:
        raise ValueError(
            f"lattices: expected those of {count} image(s), got {sum(len(part) for part in parts)}"
        )
    kinds = tuple(kind_of(term) for term in config.terms)
    for part in parts:
        if (part.height, part.width) != (height, width):
            raise ValueError(
                f"lattices: built for {part.height} x {part.width} images, got {height} x {width}"
            )
        if part.kinds != kinds:
            raise ValueError(f"lattices: built for terms {part.kinds}, the config has {kinds}")
    messages = []
    for k, term in enumerate(config.terms):
        if len(kinds[k]) > 1:
            lattice = join([part.terms[k] for part in parts])
        else:
            lattice = parts[0].terms[k]
            _check_like(unary, lattice.slice.weight)
            lattice = (
                lattice
                if count == 1
                else position_lattice(height, width, count, kinds[k][0], unary)
            )
        _check_like(unary, lattice.slice.weight)
        messages.append(_message(term, lattice, labels))
    return messages


def _check_like(unary: Tensor, weight: Tensor) -> None:
    """Same type and device, or a clear error."""
    if (unary.dtype, unary.device) != (weight.dtype, weight.device):
        raise ValueError(
            f"lattices: in {weight.dtype} on {weight.device}, "
            f"but the unary is in {unary.dtype} on {unary.device}"
        )
