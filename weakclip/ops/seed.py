"""Seed labels from class activation maps, without ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.labels import BACKGROUND, IGNORE
from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from torch import Tensor

_BINS = 64  # histogram bins of Otsu's threshold


def seed_from_cam(cam: Tensor, size: tuple[int, int], low: Tensor, high: Tensor) -> Tensor:
    """Label certain pixels: the strongest class from `high` on, background up to `low`.

    Args:
        cam: Class activation maps, (B, F, h, w), in [0, 1]; 0 for absent classes.
        size: Height and width of the seeds.
        low: A pixel whose strongest map is at most this value is background, (B,).
        high: A pixel whose strongest map is at least this value has that class, (B,).

    Returns:
        Seeds, (B, H, W), int64: 0 background, c + 1 class c, 255 undecided.

    Raises:
        ValueError: If `low` exceeds `high`, a map is not finite, or there are more classes than
            labels.
    """
    _, classes, _, _ = dims(cam, "B F h w", name="cam")
    if classes >= IGNORE:
        raise ValueError(f"cam: expected at most {IGNORE - 1} classes, as {IGNORE} means "
                         f"undecided, got {classes}")  # fmt: skip
    if not bool(cam.isfinite().all()):
        raise ValueError(
            "cam: expected finite maps, got NaN or infinity; look at the CLIP's weights"
        )
    if bool((low > high).any()):
        raise ValueError("seed thresholds: expected low <= high for every image")
    resized = F.interpolate(cam, size, mode="bilinear", align_corners=False)
    strength, label = resized.max(dim=1)
    seeds = torch.full_like(label, IGNORE)
    seeds[strength <= low.view(-1, 1, 1)] = BACKGROUND
    sure = (strength >= high.view(-1, 1, 1)) & (strength > 0)
    return torch.where(sure, label + 1, seeds)


def otsu_band(cam: Tensor, *, width: float) -> tuple[Tensor, Tensor]:
    """A band of undecided values around Otsu's threshold of each image's strongest map.

    Otsu's threshold maximises the variance between the two groups of values it separates, without
    labels or constants. The band extends from it towards the means of the two groups.

    Args:
        cam: Class activation maps, (B, F, h, w), in [0, 1].
        width: 0 for no band, 1 for a band between the two means.

    Returns:
        Lower and upper ends, each (B,).

    References:
        Otsu, "A threshold selection method from gray-level histograms", IEEE SMC 1979.
    """
    strength = cam.amax(dim=1).flatten(1)
    lows, highs = [], []
    for values in strength:
        histogram = torch.histc(values, _BINS, 0.0, 1.0)
        centres = (torch.arange(_BINS, device=values.device) + 0.5) / _BINS
        count, mass = histogram.cumsum(0), (histogram * centres).cumsum(0)
        below = mass / count.clamp(min=1)
        above = (mass[-1] - mass) / (count[-1] - count).clamp(min=1)
        between = count * (count[-1] - count) * (below - above) ** 2
        best = int(between.argmax())
        edge = (best + 1) / _BINS
        lows.append(edge - width * (edge - below[best]))
        highs.append(edge + width * (above[best] - edge))
    return torch.stack(lows), torch.stack(highs).maximum(torch.stack(lows))
