"""Drawing styles: palette, outline, shading, texture and weather of an image.

With the default style distance, pretraining and evaluation have no style in common; `style_of`
draws a style by the style distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

Shading = Literal["flat", "gradient", "side", "hatched", "dotted"]
Weather = Literal["clear", "rain", "snow", "fog", "dusk", "night"]
Line = Literal["dark", "light", "own"]

_BANK = 1024
_GREY = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A drawing style; apart from `wobble` it does not change shapes.

    Attributes:
        hue: Rotation of all hues, degrees.
        saturation: Factor on the distance from grey.
        contrast: Factor on the distance from mid grey.
        brightness: Grey levels added afterwards.
        outline: Width of the line around each part, fraction of the frame, 0 for none.
        line: Colour of the outline; `own` is a darker version of the part's colour.
        wobble: Standard deviation of random shifts of corners, in object coordinates.
        shading: Shading of every object.
        texture: Factor on the surface textures.
        levels: Number of grey levels after posterisation, 0 for no posterisation.
        weather: Weather effect over the whole image.
    """

    hue: float = 0.0
    saturation: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    outline: float = 0.0
    line: Line = "dark"
    wobble: float = 0.0
    shading: Shading = "flat"
    texture: float = 1.0
    levels: int = 0
    weather: Weather = "clear"


PRETRAINING: tuple[Style, ...] = (
    Style(),
    Style(outline=0.008),
    Style(outline=0.016, saturation=1.25),
    Style(saturation=0.55, brightness=25),
    Style(saturation=1.4, contrast=1.15),
    Style(shading="gradient"),
    Style(shading="hatched", outline=0.008),
    Style(texture=2.2, contrast=0.85),
    Style(shading="gradient", weather="rain"),
    Style(weather="snow", saturation=0.8),
    Style(weather="fog"),
    Style(weather="dusk", outline=0.008),
    Style(hue=18, outline=0.01, line="own"),
    Style(hue=-18, shading="gradient"),
)
"""Styles of the images on which micro-CLIP and micro-backbone are pretrained."""

EVALUATION: tuple[Style, ...] = (
    Style(hue=25, saturation=0.8, outline=0.006, line="light"),
    Style(hue=-35, shading="side", outline=0.01, line="own"),
    Style(weather="night", shading="hatched", brightness=30),
    Style(levels=8, outline=0.008, saturation=1.2),
    Style(wobble=0.035, outline=0.012, line="own", saturation=0.45),
    Style(shading="dotted", texture=0.3, brightness=15),
    Style(weather="fog", shading="side", outline=0.012),
    Style(weather="rain", contrast=0.75, hue=25, wobble=0.02),
)
"""Styles at distance 1, the default; none of them is a pretraining style."""

STRONG: tuple[Style, ...] = (
    Style(hue=80, outline=0.02, line="light", wobble=0.03),
    Style(saturation=0.05, outline=0.014, shading="hatched", texture=0.3),
    Style(weather="night", levels=4, wobble=0.03),
    Style(hue=-80, shading="dotted", contrast=0.7),
    Style(weather="fog", saturation=0.3, wobble=0.05, outline=0.012, line="own"),
    Style(levels=3, hue=50, weather="snow", shading="side"),
)
"""Styles at distance 2."""

MAX_DISTANCE = 2.0


def style_of(rng: Generator, distance: float) -> Style:
    """A random style: pretraining at distance 0, evaluation at 1, strong at 2, else a mixture."""
    sets = (PRETRAINING, EVALUATION, STRONG)
    lower = min(int(distance), len(sets) - 2)
    styles = sets[lower + int(rng.random() < distance - lower)]
    return styles[rng.integers(len(styles))]


def shade(image: NDArray[np.uint8], inside: NDArray[np.bool_], shading: Shading) -> None:
    """Shade the pixels of one object in place.

    Args:
        image: (S, S, 3) uint8.
        inside: The pixels of the object, (S, S) bool.
        shading: `flat` does nothing.
    """
    if shading == "flat" or not inside.any():
        return
    rows, columns = np.nonzero(inside)
    if shading in ("gradient", "side"):
        along = rows if shading == "gradient" else columns
        share = (along - along.min()) / max(1, int(np.ptp(along)))
        factor = 1.15 - 0.5 * share
    else:
        factor = np.where(_pattern(shading)[rows, columns], 0.68, 1.0)
    shaded = image[rows, columns] * factor[:, None].astype(np.float32)
    image[rows, columns] = np.clip(shaded, 0, 255).astype(np.uint8)


def finish(image: NDArray[np.uint8], rng: Generator, style: Style) -> NDArray[np.uint8]:
    """Apply weather and palette to an image, (S, S, 3) uint8; return a new image."""
    weathered = _weather(image, rng, style.weather)
    hue = style.hue + rng.normal(0, 3)
    saturation = style.saturation * float(np.exp(rng.normal(0, 0.06)))
    matrix = _palette(hue, saturation) * style.contrast
    offset = 128 * (1 - style.contrast) + style.brightness
    coloured = np.asarray(
        cv2.transform(weathered, np.column_stack([matrix, np.full(3, offset)])), dtype=np.uint8
    )
    if style.levels:
        step = 255 / (style.levels - 1)
        table = np.rint(np.rint(np.arange(256) / step) * step).astype(np.uint8)
        coloured = table[coloured]
    return coloured


def _palette(hue: float, saturation: float) -> NDArray[np.float64]:
    """Rotation of hues about the grey axis and a factor on the saturation, (3, 3) on RGB."""
    angle = np.deg2rad(hue)
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    grey = np.tile(_GREY, (3, 1))
    mixed: NDArray[np.float64] = (saturation * np.eye(3) + (1 - saturation) * grey) @ turn
    return mixed


def _weather(image: NDArray[np.uint8], rng: Generator, weather: Weather) -> NDArray[np.uint8]:
    size = image.shape[0]
    match weather:
        case "rain":
            falling = image.copy()
            lean = rng.uniform(-0.03, 0.03)
            for x, y in rng.uniform(0, 1, (45, 2)):
                start = (int(x * size), int(y * size))
                end = (int((x + lean) * size), int((y + 0.06) * size))
                cv2.line(falling, start, end, (205, 215, 230), max(1, size // 160), cv2.LINE_AA)
            return np.asarray(cv2.addWeighted(image, 0.35, falling, 0.65, -12), dtype=np.uint8)
        case "snow":
            falling = image.copy()
            for x, y, r in rng.uniform(0, 1, (40, 3)):
                radius = max(1, int((0.004 + 0.008 * r) * size))
                centre = (int(x * size), int(y * size))
                cv2.circle(falling, centre, radius, (248, 248, 252), -1, cv2.LINE_AA)
            return falling
        case "fog":
            thick = rng.uniform(0.3, 0.5)
            white = np.full_like(image, 222)
            return np.asarray(cv2.addWeighted(image, 1 - thick, white, thick, 0), dtype=np.uint8)
        case "dusk":
            return np.asarray(cv2.transform(image, np.diag([0.95, 0.72, 0.62])), dtype=np.uint8)
        case "night":
            return np.asarray(cv2.transform(image, np.diag([0.45, 0.5, 0.72])), dtype=np.uint8)
        case "clear":
            return image


@cache
def _pattern(shading: Shading) -> NDArray[np.bool_]:
    """Dark pixels of a pattern of hatching or dots, (1024, 1024) bool."""
    y, x = np.mgrid[:_BANK, :_BANK]
    dark: NDArray[np.bool_]
    dark = (x + y) % 6 < 2 if shading == "hatched" else (x % 5 < 2) & (y % 5 < 2)
    return dark
