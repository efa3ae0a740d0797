"""Propagation of class activation maps along CLIP's own attention (CLIP-ES's CAA)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from torch import Tensor


def sinkhorn_affinity(attention: Tensor, *, rounds: int = 3, power: int = 2) -> Tensor:
    """Symmetric affinity of patches, from their attention.

    Args:
        attention: Patch-to-patch attention, (B, N, N), positive; rows are queries.
        rounds: Number of normalisations of columns, then rows.
        power: Exponent of the matrix power.

    Returns:
        Affinity, (B, N, N), >= 0.

    References:
        Lin et al., CLIP-ES, CVPR 2023, class-aware attention-based affinity.
    """
    dims(attention, "B N N", name="attention")
    symmetric = attention.clone()
    for _ in range(rounds):
        symmetric /= symmetric.sum(dim=1, keepdim=True)
        symmetric /= symmetric.sum(dim=2, keepdim=True)
    _symmetrise(symmetric)
    result = symmetric
    for _ in range(power - 1):
        result = result @ symmetric
    return result


def spread(affinity: Tensor, sources: Tensor, *, power: int = 2) -> Tensor:
    """Propagate values along an affinity `power` times, without computing the matrix power.

    Args:
        affinity: Affinity of one image, (N, N), from `sinkhorn_affinity` with `power=1`.
        sources: Values to propagate, (P, N).
        power: Number of propagations.

    Returns:
        (P, N); the value at a patch is a sum over all patches, weighted by their affinity to it.
    """
    values = sources.T
    for _ in range(power):
        values = affinity @ values
    return values.T


def box_mask(cam: Tensor, *, threshold: float = 0.4, trim_last: bool = False) -> Tensor:
    """Union of the bounding boxes of all regions above a fraction of the map's maximum.

    Args:
        cam: Maps, (P, h, w), in [0, 1].
        threshold: Fraction of each map's own maximum.
        trim_last: Never include the last row and column of the grid, like the release, whose
            clipping of box corners has this bug (see `docs/log.md`).

    Returns:
        (P, h, w), bool; regions are 8-connected. Maps are quantised to 8 bits as in the release.
    """
    maps, height, width = dims(cam, "P h w", name="cam")
    quantised = (255 * cam).to(torch.uint8).to(torch.int64)
    level = (threshold * quantised.amax(dim=(1, 2), keepdim=True).double()).to(torch.int64)
    labels = _components(quantised > level)
    mask = torch.zeros_like(labels, dtype=torch.bool)
    for row in range(maps):
        for label in torch.unique(labels[row]):
            if label > 0:
                ys, xs = torch.nonzero(labels[row] == label, as_tuple=True)
                bottom, right = int(ys.max()) + 1, int(xs.max()) + 1
                if trim_last:
                    bottom, right = min(bottom, height - 1), min(right, width - 1)
                mask[row, int(ys.min()) : bottom, int(xs.min()) : right] = True
    return mask


def _symmetrise(matrices: Tensor, *, rows: int = 256) -> None:
    """Replace each matrix of (B, N, N) by its mean with its transpose, in place, in chunks."""
    for first in range(0, matrices.shape[1], rows):
        part, rest = slice(first, first + rows), slice(first, None)
        mean = (matrices[:, part, rest] + matrices[:, rest, part].transpose(1, 2)) / 2
        matrices[:, part, rest] = mean
        matrices[:, rest, part] = mean.transpose(1, 2)


def _components(foreground: Tensor) -> Tensor:
    """Labels of 8-connected components, (P, h, w), bool to int64; 0 outside."""
    cells = foreground.shape[1] * foreground.shape[2]
    index = torch.arange(1, cells + 1, dtype=torch.float32, device=foreground.device)
    labels = index.view(1, *foreground.shape[1:]) * foreground
    while True:
        grown = F.max_pool2d(labels.unsqueeze(1), 3, stride=1, padding=1).squeeze(1) * foreground
        if torch.equal(grown, labels):
            return labels.to(torch.int64)
        labels = grown
