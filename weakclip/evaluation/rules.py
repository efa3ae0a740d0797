"""Rules that turn the maps of an image into labels by adding a background.

Class activation maps have no background. A rule adds one: a constant, a power of
1 - (strongest map), or a threshold computed from the image's own values. The choice of a threshold
on the ground truth is in `weakclip.evaluation.sweep`.

References:
    Ahn and Kwak, "Learning Pixel-Level Semantic Affinity with Image-Level Supervision", CVPR 2018
    (power of the background).
    Otsu, "A threshold selection method from gray-level histograms", IEEE SMC 1979.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.labels import BACKGROUND, IGNORE
from weakclip.stages.seeds import FixedBand, OtsuBand, seeds_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from weakclip.data.formats.image_maps import ImageMaps


@dataclass(frozen=True, slots=True)
class Own:
    """The background map in the files; a pixel without positive evidence is undecided."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A constant background score."""

    threshold: float


@dataclass(frozen=True, slots=True)
class Power:
    """The background score (1 - strongest map)^exponent."""

    exponent: float


MapRule: TypeAlias = Own | Fixed | Power | OtsuBand | FixedBand
"""Rules for the background. The bands are those of seeds; between their ends it is undecided."""

_RULES = "own, THRESHOLD (such as 0.3), power:EXPONENT, otsu, otsu:WIDTH or band:LOW:HIGH"


def parse_rule(text: str) -> MapRule:
    """Parse a rule of the command line; a ValueError if the text is not a rule.

    Example:
        >>> parse_rule("0.3"), parse_rule("power:4"), parse_rule("otsu")
        (Fixed(threshold=0.3), Power(exponent=4.0), OtsuBand(width=0.0))
    """
    name, *words = text.split(":")
    try:
        numbers = [float(word) for word in words]
        match name, numbers:
            case "own", []:
                return Own()
            case "power", [exponent] if exponent > 0:
                return Power(exponent)
            case "otsu", []:
                return OtsuBand(width=0.0)
            case "otsu", [width] if width >= 0:
                return OtsuBand(width=width)
            case "band", [low, high] if low <= high:
                return FixedBand(low=low, high=high)
            case threshold, []:
                return Fixed(float(threshold))
    except ValueError:
        pass
    raise ValueError(f"background {text!r}: expected {_RULES}")


def describe_rule(rule: MapRule) -> str:
    """The text of a rule, as `parse_rule` reads it.

    Example:
        >>> describe_rule(parse_rule("band:0.2:0.6"))
        'band:0.2:0.6'
    """
    match rule:
        case Own():
            return "own"
        case Fixed():
            return f"{rule.threshold:g}"
        case Power():
            return f"power:{rule.exponent:g}"
        case OtsuBand():
            return f"otsu:{rule.width:g}" if rule.width else "otsu"
        case FixedBand():
            return f"band:{rule.low:g}:{rule.high:g}"


def labels_from(
    maps: ImageMaps, labels: Sequence[int], size: tuple[int, int], rule: MapRule
) -> NDArray[np.uint8]:
    """The labels (H, W), uint8, 255 = undecided, of an image from its maps, resized bilinearly.

    Ties go to the background, then to the map that comes first.

    Raises:
        ValueError: If the rule is `Own` and the maps have no background.
    """
    match rule:
        case Own():
            return _own(maps, labels, size)
        case Fixed():
            strength, winner = strongest(maps, labels, size)
            return np.where(strength > np.float32(rule.threshold), winner, np.uint8(BACKGROUND))
        case Power():
            strength, winner = strongest(maps, labels, size)
            behind = np.maximum(1 - strength, 0) ** np.float32(rule.exponent)
            return np.where(strength > behind, winner, np.uint8(BACKGROUND))
        case OtsuBand() | FixedBand():
            return _seeds(maps, labels, size, rule)


def strongest(
    maps: ImageMaps | None, labels: Sequence[int], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The largest value at each pixel (H, W), and its label, uint8; zeros if there are no maps."""
    if maps is None or not labels:
        return np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.uint8)
    rows = resized(maps.as_probabilities().maps, size)
    best = rows.argmax(axis=0)
    strength: NDArray[np.float32] = np.take_along_axis(rows, best[None], axis=0)[0]
    return strength, np.asarray(labels, dtype=np.uint8)[best]


def resized(rows: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize (K, h, w) to (K, *size), bilinear (align_corners false); unchanged if it fits."""
    if rows.shape[1:] == size or not len(rows):
        return rows if len(rows) else np.zeros((0, *size), dtype=np.float32)
    values = torch.from_numpy(rows)[None]
    return F.interpolate(values, size, mode="bilinear", align_corners=False)[0].numpy()


def _own(maps: ImageMaps, labels: Sequence[int], size: tuple[int, int]) -> NDArray[np.uint8]:
    if maps.background is None:
        raise ValueError(f"the maps have no background; choose one of: {_RULES}")
    rows = resized(np.concatenate([maps.background[None], maps.maps]), size)
    table = np.asarray([BACKGROUND, *labels], dtype=np.uint8)
    winner: NDArray[np.uint8] = table[rows.argmax(axis=0)]
    if maps.kind != "logit":
        winner[rows.max(axis=0) <= 0] = IGNORE
    return winner


def _seeds(
    maps: ImageMaps, labels: Sequence[int], size: tuple[int, int], rule: OtsuBand | FixedBand
) -> NDArray[np.uint8]:
    if not labels:
        return np.zeros(size, dtype=np.uint8)
    cam = torch.from_numpy(maps.as_probabilities().maps).clamp(0, 1)[None]
    places = seeds_from(cam, size, rule)[0].numpy()
    table = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
    table[: len(labels) + 1] = [BACKGROUND, *labels]
    found: NDArray[np.uint8] = table[places]
    return found
