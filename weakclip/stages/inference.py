"""Class probabilities of whole images from a trained network.

Large images are processed in overlapping windows of the training size. Probabilities are averaged
over several scales and the mirror image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.shapes import dims
from weakclip.training.execution import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from weakclip.clip.tower import Features
    from weakclip.network.model import WeakCLIP
    from weakclip.training.execution import Execution

WINDOW_BYTES = 1 << 30
"""Most bytes of window logits that are computed together; a single window may take more."""
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The release's test scales; each is also used mirrored."""


def windows(length: int, crop: int, stride: int) -> tuple[int, ...]:
    """First pixel of each window along one side; the last window ends at the image border.

    `crop` and `stride` are in pixels; if the side is shorter than the crop, there is one window.

    Example:
        >>> windows(100, 64, 42)
        (0, 36)
        >>> windows(50, 64, 42)
        (0,)
    """
    if not 0 < stride <= crop:
        raise ValueError(f"stride: expected 1 to {crop} (the crop), got {stride}")
    last = max(length - crop, 0)
    count = -(-last // stride) + 1
    return tuple(min(index * stride, last) for index in range(count))


@torch.no_grad()
def slide_logits(
    model: WeakCLIP,
    images: Tensor,
    *,
    crop: int,
    stride: int,
    rescale_to: tuple[int, int] | None = None,
    text: Tensor | None = None,
    batch: int = 8,
    encode: Callable[[Tensor], Features] | None = None,
    execution: Execution = REFERENCE,
) -> Tensor:
    """Logits averaged over overlapping windows.

    Args:
        model: A network in evaluation mode.
        images: Normalised images of one size, (B, 3, H, W).
        crop: Side of the windows in pixels (the release: 512).
        stride: Pixels between windows (the release: 341).
        rescale_to: Height and width of the result (bilinear); the images' own size if None.
        text: Result of `model.text()`; computed here if None.
        batch: Windows per forward pass; reduced so that their logits fit in `WINDOW_BYTES`.
        encode: Called instead of `model.encode` for the features of normalised windows.
        execution: Precision of the forward pass.

    Returns:
        Logits, (B, K, height, width).

    Raises:
        ValueError: If the network is in training mode or the stride exceeds the crop.
    """
    if model.training:
        raise ValueError("inference: expected a network in evaluation mode; call `model.eval()`")
    count, _, height, width = dims(images, "B 3 H W", name="images")
    text = model.text() if text is None else text
    crop_height, crop_width = min(crop, height), min(crop, width)
    places = [
        (image, slice(top, top + crop_height), slice(left, left + crop_width))
        for image in range(count)
        for top in windows(height, crop, stride)
        for left in windows(width, crop, stride)
    ]
    batch = max(1, min(batch, WINDOW_BYTES // (4 * len(text) * crop_height * crop_width)))
    size = (height, width) if rescale_to is None else rescale_to

    def predicted() -> Iterator[tuple[list[tuple[int, slice, slice]], Tensor]]:
        for first in range(0, len(places), batch):
            chunk = places[first : first + batch]
            crops = torch.stack([images[image, :, rows, columns] for image, rows, columns in chunk])
            with execution.autocast(images.device):
                features = (encode or model.encode)(crops)
                logits = model(features, text=text).logits
            yield chunk, _resize(logits, (crop_height, crop_width))

    if len(places) == count:  # one window an image: nothing to average
        return torch.cat([_resize(logits, size) for _, logits in predicted()])
    total = images.new_zeros(count, len(text), height, width)
    visits = images.new_zeros(count, 1, height, width)
    for chunk, logits in predicted():
        for (image, rows, columns), window in zip(chunk, logits, strict=True):
            total[image, :, rows, columns] += window
            visits[image, :, rows, columns] += 1
    return _resize(total / visits, size)


@torch.no_grad()
def multi_scale_probabilities(
    model: WeakCLIP,
    images: Tensor,
    *,
    crop: int,
    stride: int,
    scales: Sequence[float] = SCALES,
    flip: bool = True,
    text: Tensor | None = None,
    encode: Callable[[Tensor], Features] | None = None,
    execution: Execution = REFERENCE,
) -> Tensor:
    """Class probabilities, (B, K, H, W), averaged over scales and the mirror image.

    `scales` are factors of the image size, bilinear; the other arguments are those of
    `slide_logits`. The softmax is in float32.

    Raises:
        ValueError: If there is no scale, or a scaled image is smaller than a patch.

    Differs from the release: images are resized after normalisation, not before (OpenCV, uint8).
    """
    if not scales:
        raise ValueError("scales: expected at least one factor of the image size, got none")
    _, _, height, width = dims(images, "B 3 H W", name="images")
    text = model.text() if text is None else text
    views = len(scales) * (2 if flip else 1)
    total: Tensor | None = None  # a running sum, so that only one view is in memory
    for scale in scales:
        scaled = _resize(images, (round(height * scale), round(width * scale)))
        for mirrored in (False, True) if flip else (False,):
            logits = slide_logits(
                model,
                scaled.flip(-1) if mirrored else scaled,
                crop=crop,
                stride=stride,
                rescale_to=(height, width),
                text=text,
                encode=encode,
                execution=execution,
            )
            probabilities = logits.softmax(dim=1)
            view = probabilities.flip(-1) if mirrored else probabilities
            total = view if total is None else total.add_(view)
    assert total is not None
    return total if views == 1 else total.div_(views)


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[2:]) == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
