"""From a class activation map to seed labels, without ground truth."""

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
    """Label sure pixels: the strongest class above `high`, background below `low`.

    Args:
        cam: Class activation maps, (B, F, h, w), in [0, 1]; 0 for absent classes.
        size: Height and width of the seeds.
        low: Below or at this value of the strongest map a pixel is background, (B,).
        high: From this value on it is the class of the strongest map, (B,).

    Returns:
        Seeds, (B, H, W), int64: 0 background, c + 1 class c, 255 undecided.

    Raises:
        ValueError: If a lower bound is above its upper bound, a map is not finite, or there are
            more classes than labels.
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

    Otsu's threshold splits the values into two groups as far apart as possible; it needs neither
    labels nor constants. The band reaches from it towards the two groups' means.

    Args:
        cam: Class activation maps, (B, F, h, w), in [0, 1].
        width: 0 for no band, 1 for a band from one mean to the other.

    Returns:
        Lower and upper end, each (B,).

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
