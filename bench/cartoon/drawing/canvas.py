"""The canvas of a scene: an RGB image and its labels, which are drawn by the same calls.

Every fill also writes one (class, instance, stuff, part) quadruple into a four-channel array, so
the label maps agree with the image by construction. Only the edges of the image are anti-aliased.

All random textures come from banks that are made once per process with a fixed seed. They are
rounded to 1/64 grey level, and global light is a table of 256 integers, so that rounding
differences between processors do not change pixels.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

from bench.cartoon.vocabulary import STUFF_IDS

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from bench.cartoon.drawing.shapes import Outline

Colour: TypeAlias = "NDArray[np.float64]"
"""RGB, (3,), grey levels in [0, 255]."""

Label: TypeAlias = tuple[int, int, int, int]
"""Class label (0 background), instance (0 none), stuff id (0 object), part id (0 none)."""

TEXTURE_SIZE = 512
_NOISE_SIZE = 1024
_BANK_SEED = 12345
_CLOSED = True
_SHIFT = 4  # cv2 takes corners in 1/16 pixel
_MAX_CORNER = 1 << 20  # far outside the frame, but within the range of cv2's fixed-point numbers


def stuff_label(name: str) -> Label:
    """Label of the pixels of one kind of stuff."""
    return (0, 0, STUFF_IDS[name], 0)


def jitter(rng: Generator, colour: tuple[float, float, float] | Colour, amount: float) -> Colour:
    """`colour` with independent normal noise of `amount` grey levels on each channel."""
    noisy: Colour = np.asarray(colour, dtype=np.float64) + rng.normal(0, amount, 3)
    return np.clip(noisy, 0, 255)


class Canvas:
    """An image (S, S, 3) uint8 RGB and its labels (S, S, 4) uint8, painted back to front.

    Outlines are in frame units: (0, 0) is the top left corner, (1, 1) the bottom right one.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.image: NDArray[np.uint8] = np.zeros((size, size, 3), dtype=np.uint8)
        self.labels: NDArray[np.uint8] = np.zeros((size, size, 4), dtype=np.uint8)

    def fill(self, outline: Outline, colour: Colour, label: Label) -> None:
        """Paint the inside of a polygon, (n, 2)."""
        corners = [self._corners(outline)]
        cv2.fillPoly(self.image, corners, colour.tolist(), cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.labels, corners, label, cv2.LINE_8, _SHIFT)

    def stroke(self, outline: Outline, width: float, colour: Colour, label: Label) -> None:
        """Paint the closed outline of a polygon, (n, 2), `width` frame units wide."""
        corners = [self._corners(outline)]
        pixels = max(1, round(width * self.size))
        cv2.polylines(self.image, corners, _CLOSED, colour.tolist(), pixels, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.labels, corners, _CLOSED, label, pixels, cv2.LINE_8, _SHIFT)

    def line(self, outline: Outline, width: float, colour: Colour) -> None:
        """Draw the outline of a polygon, (n, 2), in the image only, `width` frame units wide."""
        corners = [self._corners(outline)]
        pixels = max(1, round(width * self.size))
        cv2.polylines(self.image, corners, _CLOSED, colour.tolist(), pixels, cv2.LINE_AA, _SHIFT)

    def rows(self, top: int, bottom: int, first: Colour, last: Colour, label: Label) -> None:
        """Paint pixel rows [top, bottom) with a vertical gradient."""
        ramp = np.linspace(0, 1, bottom - top)[:, None]
        band = np.clip(first + (last - first) * ramp, 0, 255)
        self.image[top:bottom] = band[:, None].astype(np.uint8)
        self.labels[top:bottom] = label

    def texture(self, rng: Generator, top: int, bottom: int, amplitude: float) -> None:
        """Add a random texture of standard deviation `amplitude` to pixel rows [top, bottom)."""
        patch = texture_patch(rng, bottom - top, self.size) * np.float32(amplitude)
        band = self.image[top:bottom] + patch[..., None]
        self.image[top:bottom] = np.clip(band, 0, 255, out=band)

    def texture_instance(self, rng: Generator, instance: int, amplitude: float) -> None:
        """Add a random texture to the pixels of one instance."""
        inside = self.labels[..., 1] == instance
        patch = texture_patch(rng, self.size, self.size)[inside] * np.float32(amplitude)
        pixels = self.image[inside] + patch[:, None]
        self.image[inside] = np.clip(pixels, 0, 255, out=pixels)

    def _corners(self, outline: Outline) -> NDArray[np.int32]:
        scaled = np.rint(outline * (self.size << _SHIFT))
        return np.clip(scaled, -_MAX_CORNER, _MAX_CORNER).astype(np.int32)


def illuminate(
    image: NDArray[np.uint8], rng: Generator, *, gain: float, offset: float, noise: float
) -> NDArray[np.uint8]:
    """Apply global light and sensor noise.

    Args:
        image: (S, S, 3) uint8.
        rng: Chooses the noise field.
        gain: Factor on every grey level.
        offset: Grey levels added after the gain.
        noise: Standard deviation of the noise, grey levels.

    Returns:
        A new image, (S, S, 3) uint8.
    """
    levels = np.clip(np.rint(np.arange(256) * gain + offset), 0, 255).astype(np.float32)
    size = image.shape[0]
    y, x = rng.integers(0, _NOISE_SIZE - size, 2)
    noisy = levels[image] + _noise_bank()[y : y + size, x : x + size] * np.float32(noise)
    np.clip(noisy, 0, 255, out=noisy)
    return np.asarray(noisy, dtype=np.uint8)


def texture_patch(rng: Generator, height: int, width: int) -> NDArray[np.float32]:
    """A random window of a random texture, (height, width), mean about 0, variance about 1."""
    bank = _texture_bank()
    which = rng.integers(len(bank))
    y, x = rng.integers(0, (TEXTURE_SIZE - height + 1, TEXTURE_SIZE - width + 1))
    patch: NDArray[np.float32] = bank[which, y : y + height, x : x + width]
    return patch


@cache
def _texture_bank() -> NDArray[np.float32]:
    """24 fields, (24, 512, 512): noise of four scales; every third one also has stripes."""
    rng = np.random.default_rng(_BANK_SEED)
    shape = (TEXTURE_SIZE, TEXTURE_SIZE)
    y, x = np.mgrid[:TEXTURE_SIZE, :TEXTURE_SIZE]
    fields = []
    for k in range(24):
        field = 0.35 * rng.standard_normal(shape)
        for cells, weight in ((8, 0.2), (24, 0.4), (64, 0.5), (128, 0.5)):
            coarse = rng.standard_normal((cells, cells))
            smooth = cv2.resize(coarse, shape, interpolation=cv2.INTER_CUBIC)
            field += weight * rng.uniform(0.2, 1) * smooth
        if k % 3 == 0:
            angle, frequency = rng.uniform(0, np.pi), rng.uniform(0.08, 0.5)
            wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * frequency)
            field += 0.8 * np.sign(wave)
        fields.append(_quantised(field / field.std()))
    return np.stack(fields)


@cache
def _noise_bank() -> NDArray[np.float32]:
    """White noise, (1024, 1024, 3), standard normal."""
    rng = np.random.default_rng(_BANK_SEED + 1)
    return _quantised(rng.standard_normal((_NOISE_SIZE, _NOISE_SIZE, 3), dtype=np.float32))


def _quantised(field: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(np.rint(field * 64) / 64, dtype=np.float32)
