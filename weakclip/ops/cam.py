"""Class activation maps from embeddings and gradients, batched over images and classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_EPS = 1e-7  # avoids a division by 0 for constant maps
_WORKING_BYTES = 32 << 20  # of activations that are differentiated together


def present_softmax(logits: Tensor, image_labels: Tensor) -> Tensor:
    """Softmax over the texts, with absent foreground classes left out.

    Args:
        logits: (B, F + M, ...), the F foreground texts first, then M background texts.
        image_labels: Image-level tags, (B, F), bool.

    Returns:
        Probabilities of the foreground texts, (B, F, ...); 0 for absent classes.

    References:
        Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023.
    """
    classes = image_labels.shape[1]
    background = logits.shape[1] - classes
    allowed = F.pad(image_labels, (0, background), value=True)
    allowed = allowed.view(*allowed.shape, *([1] * (logits.ndim - 2)))
    return logits.masked_fill(~allowed, -torch.inf).softmax(dim=1)[:, :classes].nan_to_num(0)


def normalise_cam(cam: Tensor) -> Tensor:
    """Scale every map to [0, 1]; a constant map becomes 0.

    Args:
        cam: (..., h, w), any scale.

    Returns:
        (..., h, w) in [0, 1].

    Example:
        >>> normalise_cam(torch.tensor([[1.0, 3.0]])).round().tolist()
        [[0.0, 1.0]]
    """
    low = cam.amin(dim=(-2, -1), keepdim=True)
    shifted = cam - low
    return shifted / (shifted.amax(dim=(-2, -1), keepdim=True) + _EPS)


def grad_cam(
    score: Callable[[Tensor, Tensor], Tensor],
    activations: Tensor,
    pairs: Tensor,
    *,
    prefix_tokens: int = 1,
) -> Tensor:
    """Grad-CAM of (image, class) pairs in one backward pass, or in several if they are large.

    Args:
        score: Maps activations (P, N, C) of P pairs, and the pairs (P, 2), to their scores (P,).
        activations: Activations of B images, (B, N, C): the tokens of a transformer, or the cells
            of a convolutional map in row order.
        pairs: Image and class of each map, (P, 2), int64.
        prefix_tokens: Number T of leading tokens that are not in the map: 1 for a class token, 0
            for the cells of a convolutional map.

    Returns:
        Maps before normalisation, (P, N - T), >= 0; 0 where no gradient is positive.

    References:
        Selvaraju et al., "Grad-CAM", ICCV 2017: each channel weighted by its mean gradient.
    """
    _, tokens, channels = dims(activations, "B N C", name="activations")
    fitting = max(1, _WORKING_BYTES // (tokens * channels * activations.element_size()))
    maps = [_maps(score, activations, part, prefix_tokens) for part in torch.split(pairs, fitting)]
    return torch.cat(maps)


def _maps(
    score: Callable[[Tensor, Tensor], Tensor], activations: Tensor, pairs: Tensor, prefix: int
) -> Tensor:
    with torch.enable_grad():
        repeated = activations[pairs[:, 0]].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(repeated, pairs).sum(), repeated)
    weights = gradient[:, prefix:].mean(dim=1)  # (P, C)
    return torch.einsum("pc,pnc->pn", weights, repeated[:, prefix:].detach()).relu()
