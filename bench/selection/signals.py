"""Measures of a network on held-out images that need no pixel annotation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from weakclip.crf.dense import dense_crf, unary_from_probs
from weakclip.stages.refine import known_labels

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.crf.dense import CRFConfig

LEAST_SHARE = 0.01
"""Smallest fraction of an image's pixels with which a class counts as found."""
_CLIP = 1e-5  # smallest probability of the energies


@torch.no_grad()
def crf_energy(
    images: Tensor, probabilities: Tensor, start: Tensor, image_labels: Tensor, config: CRFConfig
) -> Tensor:
    """Energy of soft masks in a dense CRF, per pixel, up to a constant of each image.

    With probabilities q, unary energies u and kernel k the energy is the mean over pixels i of
    sum_l q_i(l) u_i(l) + 1/2 sum_j k_ij (1 - sum_l q_i(l) q_j(l)). One mean-field update from q
    gives the sums over the kernel up to a constant per pixel. The constants depend on the total of
    the kernel only; they are the same for all masks of an image and are left out.

    Args:
        images: (B, 3, H, W), uint8.
        probabilities: Class probabilities of the masks, (B, 1 + F, H, W), 0 or more.
        start: Probabilities that give the unary energies, (B, 1 + F, H, W), 0 or more.
        image_labels: Tags, (B, F), bool; other classes are ignored.
        config: Terms of the CRF.

    Returns:
        (B,); lower for masks that agree with `start` and with the edges of the image.
    """
    known = known_labels(image_labels).to(probabilities.device)
    part = known[:, :, None, None]
    masks, first = ((each * part).clamp(min=_CLIP) * part for each in (probabilities, start))
    masks, first = (each / each.sum(dim=1, keepdim=True) for each in (masks, first))
    updated = dense_crf(images, masks, replace(config, iterations=1), present=known.cpu())
    sums = torch.where(part, updated.clamp(min=1e-38).log() + unary_from_probs(masks), 0.0)
    apart = sums.sum(dim=1) / known.sum(dim=1)[:, None, None] - (masks * sums).sum(dim=1)
    unary = (masks * unary_from_probs(first)).sum(dim=1)
    energies: Tensor = (unary + apart / 2).mean(dim=(1, 2))
    return energies


def found_classes(probabilities: Tensor) -> Tensor:
    """Classes that a network finds in images, (B, F), bool, from probabilities (B, 1 + F, H, W)."""
    labels = probabilities.argmax(dim=1)
    shares = [
        (labels == label).float().mean(dim=(1, 2)) for label in range(1, probabilities.shape[1])
    ]
    return torch.stack(shares, dim=1) >= LEAST_SHARE


def agreement(found: Tensor, image_labels: Tensor) -> float:
    """F1 of found classes against tags, both (N, F), bool; 1 if there are neither.

    Example:
        >>> agreement(torch.tensor([[True, True]]), torch.tensor([[True, False]]))
        0.6666666666666666
    """
    both, total = int((found & image_labels).sum()), int(found.sum()) + int(image_labels.sum())
    return 2 * both / total if total else 1.0
