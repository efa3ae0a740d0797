"""Mean-field inference of the dense CRF, for a batch of images of one size.

It takes energies and lattices, and is therefore the entry point for callers with another unary, or
with lattices kept for a fixed set of images; `dense.py` starts from images and probabilities.

References:
    Krähenbühl and Koltun 2011, "Efficient inference in fully connected CRFs with Gaussian edge
    potentials".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from weakclip.crf.engine import engine_for
from weakclip.crf.lattices import Lattices, kind_of, position_lattice
from weakclip.crf.mean_field_update import BaseTwo, Message, Shifted, Update
from weakclip.crf.permutohedral import join
from weakclip.crf.terms import CRFConfig, Gaussian, check_matrix
from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

_TOGETHER_FLOATS = 1 << 21  # values per core of images iterated together, to fit its cache


@torch.no_grad()
def mean_field(
    unary: Tensor,
    lattices: Lattices | Sequence[Lattices],
    config: CRFConfig,
    *,
    overwrite_unary: bool = False,
) -> Tensor:
    """Marginals after `config.iterations` mean-field updates.

    Args:
        unary: Energies, (B, L, H, W), finite.
        lattices: From `build_lattices`, for the same images in the same order; or a list of those
            of single images.
        config: Terms, in the order in which the lattices were built.
        overwrite_unary: Whether the marginals may be written to the memory of the unary, which
            saves an allocation.

    Returns:
        (B, L, H, W), summing to 1 over L; no gradients. The result for an image does not depend on
        the other images.

    Raises:
        ValueError: If sizes, terms or devices do not match, or a compatibility matrix is not
            (L, L).
    """
    dims(unary, "B L H W", name="unary")
    if unary.numel() == 0:
        return unary.clone()
    if not math.isfinite(float(unary.sum())):
        raise ValueError("unary: expected finite energies, got NaN or infinity")
    lattices = [lattices] if isinstance(lattices, Lattices) else list(lattices)
    _check_lattices(lattices, config, unary)
    engine = engine_for(unary)
    if engine is not None and config.terms and not config.has_matrix:
        here = overwrite_unary and unary.is_contiguous()
        found = unary if here else unary.new_empty(unary.shape)
        engine.infer(unary, lattices, config, found)
        return found
    parts = [_infer(part, some, config) for part, some in _groups(unary, lattices)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _groups(unary: Tensor, lattices: list[Lattices]) -> Iterator[tuple[Tensor, list[Lattices]]]:
    """Images to iterate together: all, or single ones if all would not fit into a CPU's cache."""
    values = unary.shape[1] * (2 * unary[:, 0].numel() + sum(part.vertices for part in lattices))
    if unary.device.type != "cpu" or values <= _TOGETHER_FLOATS * torch.get_num_threads():
        yield unary, lattices
        return
    singles = (single for part in lattices for single in part)
    yield from (
        (image, [single]) for image, single in zip(unary.chunk(len(unary)), singles, strict=True)
    )


def _infer(unary: Tensor, lattices: list[Lattices], config: CRFConfig) -> Tensor:
    """Marginals (B, L, H, W) of images iterated together."""
    if not config.terms:
        return torch.softmax(-unary, 1)
    update = Update(_messages(lattices, config), unary)
    fast = update.run(config.iterations, BaseTwo) if unary.device.type == "cpu" else None
    found = update.run(config.iterations, Shifted) if fast is None else fast
    assert found is not None  # `Shifted` accepts any logits
    return found


def _messages(lattices: list[Lattices], config: CRFConfig) -> list[Message]:
    """The message of each term to the pixels of all images of a call."""
    images = sum(len(part) for part in lattices)
    messages = []
    for k, term in enumerate(config.terms):
        lattice = lattices[0].terms[k]
        if not isinstance(term, Gaussian):
            lattice = join([part.terms[k] for part in lattices])
        elif images > 1:
            height, width = lattices[0].height, lattices[0].width
            lattice = position_lattice(height, width, images, term.sxy, lattice.slice.weight)
        if isinstance(term.weight, float):
            messages.append(Message(lattice=lattice, factor=term.weight, mixing=None))
        else:
            penalty = lattice.slice.weight.new_tensor(term.weight)
            messages.append(Message(lattice=lattice, factor=-0.5, mixing=penalty + penalty.T))
    return messages


def _check_lattices(lattices: list[Lattices], config: CRFConfig, unary: Tensor) -> None:
    """Raise a ValueError unless the lattices fit the unary and the terms."""
    count, labels, height, width = unary.shape
    if sum(len(part) for part in lattices) != count:
        raise ValueError(
            f"lattices: expected those of {count} image(s), "
            f"got {sum(len(part) for part in lattices)}"
        )
    kinds = tuple(kind_of(term) for term in config.terms)
    for part in lattices:
        if (part.height, part.width) != (height, width):
            raise ValueError(
                f"lattices: built for {part.height} x {part.width} images, got {height} x {width}"
            )
        if part.kinds != kinds:
            raise ValueError(f"lattices: built for terms {part.kinds}, the config has {kinds}")
        for lattice in part.terms:
            weight = lattice.slice.weight
            if (unary.dtype, unary.device) != (weight.dtype, weight.device):
                raise ValueError(
                    f"lattices: in {weight.dtype} on {weight.device}, "
                    f"but the unary is in {unary.dtype} on {unary.device}"
                )
    for term in config.terms:
        if not isinstance(term.weight, float):
            check_matrix(term.weight, labels)
