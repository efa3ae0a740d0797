"""From the maps of an image to its labels: where is the background?

Class activation maps have no background. A rule puts one: a constant, a power of what the classes
leave over, or a threshold that each image's own values suggest. A rule that is chosen by looking
at the ground truth is not in this module: see `weakclip.evaluation.sweep`.

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
    """The background that the files have; a pixel without any evidence is undecided."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same score of the background everywhere."""

    threshold: float


@dataclass(frozen=True, slots=True)
class Power:
    """(1 - strongest map) to a power."""

    exponent: float


MapRule: TypeAlias = Own | Fixed | Power | OtsuBand | FixedBand
"""The bands are those of seeds: between their ends a pixel is undecided."""

_RULES = "own, THRESHOLD (such as 0.3), power:EXPONENT, otsu, otsu:WIDTH or band:LOW:HIGH"


def parse_rule(text: str) -> MapRule:
    """The rule of a text on a command line.

    Raises:
        ValueError: If it is none.

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
    """The text that `parse_rule` reads.

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
    """The labels of an image by its maps, resized bilinearly first.

    Of equal scores the background wins, then the lower label.

    Args:
        maps: K maps on any grid.
        labels: What each of them means.
        size: (H, W) of the image.
        rule: Where the background is.

    Returns:
        (H, W) uint8; 255 undecided.

    Raises:
        ValueError: If the rule is `Own` and there is no background.
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
    """The largest value of each pixel and the label it is of.

    Args:
        maps: K maps on any grid; None for none.
        labels: What each of them means.
        size: (H, W) of the image.

    Returns:
        (H, W) float32, and (H, W) uint8; 0 and 0 without any class.
    """
    if maps is None or not labels:
        return np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.uint8)
    rows = resized(maps.as_probabilities().maps, size)
    best = rows.argmax(axis=0)
    strength: NDArray[np.float32] = np.take_along_axis(rows, best[None], axis=0)[0]
    return strength, np.asarray(labels, dtype=np.uint8)[best]


def resized(rows: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """(K, h, w) to (K, *size), bilinearly, corners not aligned; unchanged if it has the size."""
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
