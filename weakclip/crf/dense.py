"""The fully connected CRF of Krähenbühl and Koltun, batched, with torch only.

It is used in the training loss, in every baseline and in most post-processing of the field. The
usual C++ implementation needs a compiler and processes one image at a time on one thread. This one
computes the same function (same lattice, rounding and normalisation) for many images per call, on
every device of torch.

References:
    Krähenbühl and Koltun 2011, "Efficient inference in fully connected CRFs with Gaussian edge
    potentials".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.crf.compiled.spread import one_thread_if_forked
from weakclip.crf.lattices import Lattices, build_lattices, check_images
from weakclip.crf.mean_field import mean_field
from weakclip.crf.terms import (
    CLIP_ES,
    DEEPLAB,
    DSRG,
    IRN,
    PSA,
    WEAKCLIP_COCO,
    WEAKCLIP_TRAIN,
    WEAKCLIP_VOC,
    Bilateral,
    CRFConfig,
    Gaussian,
)
from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

__all__ = [
    "CLIP_ES",
    "DEEPLAB",
    "DSRG",
    "IRN",
    "PSA",
    "WEAKCLIP_COCO",
    "WEAKCLIP_TRAIN",
    "WEAKCLIP_VOC",
    "Bilateral",
    "CRFConfig",
    "Gaussian",
    "Lattices",
    "build_lattices",
    "dense_crf",
    "dense_crf_inference",
    "mean_field",
    "unary_from_labels",
    "unary_from_probs",
]

_GROUP_FLOATS = 1 << 25  # pixels x labels of the images processed together


def unary_from_probs(probs: Tensor, *, clip: float = 1e-5) -> Tensor:
    """Energies -ln p of class probabilities, which need not sum to 1.

    Args:
        probs: (B, L, H, W), not negative; values are clipped to [clip, 1].
        clip: Smallest probability.

    Returns:
        (B, L, H, W), in [0, -ln clip]; float64 for float64 input, else float32 (converted before
        the logarithm).

    Raises:
        ValueError: If a probability is negative or NaN, or `clip` is outside (0, 1).

    Example:
        >>> unary_from_probs(torch.ones(1, 1, 1, 2)).shape
        torch.Size([1, 1, 1, 2])
    """
    dims(probs, "B L H W", name="probs")
    if not 0 < clip < 1:
        raise ValueError(f"clip: expected a number between 0 and 1, got {clip}")
    probs = probs if probs.dtype == torch.float64 else probs.float()
    if probs.numel() and not (least := float(probs.amin())) >= 0:
        raise ValueError(
            f"probs: expected numbers of 0 or more, got {least}; "
            "logits need a softmax over the labels first"
        )
    return probs.clamp(clip, 1).log_().neg_()


def unary_from_labels(
    labels: Tensor, num_labels: int, *, confidence: float = 0.7, unsure: int | None = None
) -> Tensor:
    """Energies of a label map each pixel of which is correct with probability `confidence`.

    Args:
        labels: (B, H, W), integers in [0, num_labels) or `unsure`.
        num_labels: L, 2 or more.
        confidence: Probability that a label is correct, in (0, 1); the rest is divided equally
            among the other labels.
        unsure: Value for unknown pixels (all labels equally likely), e.g. 255. The C++ code's
            `zero_unsure=True` corresponds to `unsure=-1` on labels minus 1.

    Returns:
        (B, L, H, W), float32.

    Raises:
        ValueError: If a label, `num_labels` or `confidence` is out of range.
        TypeError: If the labels are not integers.

    Example:
        >>> unary_from_labels(torch.zeros(1, 1, 2, dtype=torch.long), 3).shape
        torch.Size([1, 3, 1, 2])
    """
    dims(labels, "B H W", name="labels")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"labels: expected integers, got {labels.dtype}")
    if num_labels < 2 or not 0 < confidence < 1:
        raise ValueError(
            "expected 2 or more labels and a confidence between 0 and 1, "
            f"got {num_labels} and {confidence}"
        )
    labels = labels.long()
    known = torch.ones_like(labels, dtype=torch.bool) if unsure is None else labels != unsure
    if not bool(((labels >= 0) & (labels < num_labels) | ~known).all()):
        raise ValueError(
            f"labels: expected values in [0, {num_labels})" + f" or {unsure}" * (unsure is not None)
        )
    other = -math.log((1 - confidence) / (num_labels - 1))
    classes = torch.arange(num_labels, device=labels.device)[:, None, None]
    unary = torch.where(labels[:, None] == classes, -math.log(confidence), other)
    return torch.where(known[:, None], unary, math.log(num_labels)).float()


@torch.no_grad()
def dense_crf(
    images: Tensor,
    probs: Tensor,
    config: CRFConfig,
    *,
    present: Tensor | None = None,
    clip: float = 1e-5,
    lattices: Lattices | Sequence[Lattices] | None = None,
) -> Tensor:
    """Marginals of the dense CRF, initialised with class probabilities.

    Args:
        images: (B, 3, H, W), uint8, any channel order.
        probs: (B, L, H, W), not negative; need not sum to 1.
        config: Terms and iterations.
        present: Labels of each image, (B, L), bool. Other labels are left out and become 0; the
            result is exactly that of a call with the present labels alone.
        clip: Smallest probability in the unary.
        lattices: From `build_lattices(images, config)`; built here if None.

    Returns:
        (B, L, H, W), summing to 1 over L; float32, or float64 for float64 `probs`; no gradients.

    Raises:
        TypeError: If the images are not uint8 or `present` is not bool.
        ValueError: If sizes differ, a probability is negative or NaN, or an image has no label.

    Example:
        >>> images = torch.zeros(1, 3, 4, 5, dtype=torch.uint8)
        >>> dense_crf(images, torch.full((1, 2, 4, 5), 0.5), WEAKCLIP_VOC)[0, :, 0, 0]
        tensor([0.5000, 0.5000])
    """
    one_thread_if_forked()
    count, height, width = check_images(images)
    batch, labels, rows, columns = dims(probs, "B L H W", name="probs")
    if (count, height, width) != (batch, rows, columns):
        raise ValueError(
            f"probs: expected {count} maps of {height} x {width} as the images, "
            f"got {batch} of {rows} x {columns}"
        )
    if images.device != probs.device:
        raise ValueError(f"images are on {images.device}, probs on {probs.device}")
    if labels == 0:
        raise ValueError("probs: expected one label or more, got none")
    if lattices is not None and len(lattices) != count:
        raise ValueError(f"lattices: expected those of {count} image(s), got {len(lattices)}")
    present = _check_present(present, count, labels)
    if probs.numel() == 0:
        return probs.clone()
    groups = list(_groups(present, config, height * width))
    if len(groups) == 1 and bool(present.all()):
        unary = unary_from_probs(probs, clip=clip)
        lattices = (
            build_lattices(images, config, dtype=unary.dtype) if lattices is None else lattices
        )
        return mean_field(unary, lattices, config, overwrite_unary=True)
    dtype = torch.float64 if probs.dtype == torch.float64 else torch.float32
    marginals = torch.zeros(probs.shape, dtype=dtype, device=probs.device)
    for group, chosen in groups:
        where = (torch.tensor(group)[:, None], torch.tensor(chosen))
        if lattices is None:
            built = [build_lattices(images[group], config, dtype=dtype)]
        else:
            built = [lattices[image] for image in group]
        unary = unary_from_probs(probs[where], clip=clip)
        alone = config.restricted(chosen[0], labels)
        marginals[where] = mean_field(unary, built, alone, overwrite_unary=True)
    return marginals


def _check_present(present: Tensor | None, count: int, labels: int) -> Tensor:
    """Checked `present`; all labels if it is None."""
    if present is None:
        return torch.ones(count, labels, dtype=torch.bool)
    if present.dtype != torch.bool:
        raise TypeError(f"present: expected bool, got {present.dtype}")
    if tuple(present.shape) != (count, labels):
        raise ValueError(f"present: expected shape {(count, labels)}, got {tuple(present.shape)}")
    if not bool(present.any(1).all()):
        raise ValueError(
            "present: expected one label or more of each image, got an image with none"
        )
    return present


def _groups(
    present: Tensor, config: CRFConfig, pixels: int
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Groups of images that can be processed by one call.

    They have the same number of labels, or the same labels if a term has a compatibility matrix.

    Yields:
        Images of the group, and the present labels of each. The number of values in a group is
        limited, which limits the memory of the call.
    """
    chosen = [row.nonzero()[:, 0].tolist() for row in present.cpu()]
    alike: dict[tuple[int, ...], list[int]] = {}
    for image, row in enumerate(chosen):
        key = tuple(row) if config.has_matrix else (len(row),)
        alike.setdefault(key, []).append(image)
    for group in alike.values():
        size = max(1, _GROUP_FLOATS // (pixels * len(chosen[group[0]])))
        for first in range(0, len(group), size):
            part = group[first : first + size]
            yield part, [chosen[image] for image in part]


def dense_crf_inference(
    image: np.ndarray,
    probs: np.ndarray,
    config: CRFConfig = PSA,
    *,
    present: Sequence[int] | None = None,
    clip: float = 1e-5,
) -> np.ndarray:
    """Marginals of one image, for numpy users: replaces the `crf_inference` of research code.

    Args:
        image: (H, W, 3), uint8, in any memory order, e.g. `image[:, :, ::-1]`.
        probs: (L, H, W), floats that are not negative, in any memory order.
        config: Terms and iterations.
        present: Labels of the image; all others become 0. By default all labels.
        clip: Smallest probability in the unary.

    Returns:
        (L, H, W), float32 (float64 for float64 `probs`), summing to 1 over L. In a forked process
        it is computed on one thread, and torch is limited to one thread from then on.

    Raises:
        TypeError: If the image is not uint8.
        ValueError: If sizes differ or a probability is negative or NaN.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((4, 5, 3), dtype=np.uint8)
        >>> dense_crf_inference(image, np.full((2, 4, 5), 0.5, dtype=np.float32)).shape
        (2, 4, 5)
    """
    one_thread_if_forked()
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"image: expected shape (H, W, 3), got {image.shape}")
    if probs.ndim != 3:
        raise ValueError(f"probs: expected shape (L, H, W), got {probs.shape}")
    mask = None
    if present is not None:
        mask = torch.zeros(1, probs.shape[0], dtype=torch.bool)
        mask[0, list(present)] = True
    pixels, scores = (torch.from_numpy(np.array(each, order="C")) for each in (image, probs))
    marginals = dense_crf(
        pixels.permute(2, 0, 1)[None], scores[None], config, present=mask, clip=clip
    )
    return marginals[0].numpy()
