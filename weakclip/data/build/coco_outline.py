"""Checks of an annotation's segmentation before it is painted.

pycocotools' C code does not check its input: a coordinate of 1e9 exhausts the memory, and too few
counts leave uninitialised memory in the mask. So numbers, lengths and positions are compared with
the image first, and only outlines checked here are painted.

References:
    The string of COCO's compressed RLE: base 64 starting at "0", five bits per letter and a bit
    that says whether more letters follow, lowest bits first; from the fourth number on, differences
    to the second last number. https://github.com/cocodataset/cocoapi
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weakclip.data.read.instances import Segmentation

CORNERS = 3
"""Fewest corners of a polygon; four numbers would be read as a box."""
MAX_LENGTH = 1 << 20
"""Longest outline of a polygon in pixels: 26 times around an image of 10,000 x 10,000."""
_BITS, _MORE, _SIGN, _FIRST = 5, 0x20, 0x10, ord("0")
_MAX_SHIFT = 60


@dataclass(frozen=True, slots=True)
class Polygons:
    """Closed polygons that form one region."""

    rings: tuple[NDArray[np.float64], ...]
    """Corners of each polygon, (n, 2): x, y in pixels from the upper left corner of the image."""

    def within(self, size: tuple[int, int], margin: float) -> bool:
        """Whether no corner is more than `margin` pixels outside an image of (H, W)."""
        return all(bool(_inside(ring, size, margin).all()) for ring in self.rings)


@dataclass(frozen=True, slots=True)
class Runs:
    """Lengths of runs down the columns, alternately outside and inside; they fill the image."""

    lengths: NDArray[np.int64]


def outline_of(segmentation: Segmentation, size: tuple[int, int]) -> Polygons | Runs:
    """The polygons or runs of a segmentation, checked against an image of (H, W).

    Corners may lie outside by up to one image size: tools draw over the edge, which is clipped.

    Raises:
        ValueError: If it is malformed, for another size, or completely outside.
    """
    match segmentation:
        case list():
            return _polygons(segmentation, size)
        case dict():
            return Runs(_lengths(segmentation, size))
        case None:
            raise ValueError("has no segmentation")
        case _:
            raise ValueError(f"expected polygons or RLE, got {type(segmentation).__name__}")


def _polygons(parts: list[Any], size: tuple[int, int]) -> Polygons:
    if not parts:
        raise ValueError("has an empty segmentation")
    polygons = Polygons(tuple(_ring(part, size) for part in parts))
    if not any(_meets(ring, size) for ring in polygons.rings):
        raise ValueError(f"lies outside of the image of {stated_size(size)}")
    return polygons


def _ring(part: object, size: tuple[int, int]) -> NDArray[np.float64]:
    """One polygon, (n, 2)."""
    if not isinstance(part, list) or any(type(one) not in (int, float) for one in part):
        got = "something else" if isinstance(part, list) else type(part).__name__
        raise ValueError(f"expected polygons [[x, y, x, y, ...], ...] of numbers, got {got}")
    if len(part) < 2 * CORNERS or len(part) % 2:
        hint = ", perhaps a box" if len(part) == 4 else ""
        raise ValueError(
            f"expected polygons of {2 * CORNERS}, 8, 10, ... numbers, got {len(part)}{hint}"
        )
    try:
        ring = np.array(part, dtype=np.float64).reshape(-1, 2)
    except OverflowError:  # an integer of hundreds of digits
        ring = np.full((1, 2), np.inf)
    if not np.isfinite(ring).all():
        raise ValueError("has a corner that is not a number, or infinite")
    if not _inside(ring, size, max(size)).all():
        low, high = ring.min(0), ring.max(0)
        raise ValueError(
            f"reaches from x {low[0]:g}, y {low[1]:g} to x {high[0]:g}, y {high[1]:g}, far out of "
            f"the image of {stated_size(size)}"
        )
    around = np.abs(ring - np.roll(ring, 1, axis=0)).max(1).sum()
    if around > MAX_LENGTH:
        raise ValueError(f"has a polygon {around:.0f} pixels long, expected {MAX_LENGTH} or fewer")
    return ring


def _lengths(runs: dict[str, Any], size: tuple[int, int]) -> NDArray[np.int64]:
    """The checked run lengths of an RLE."""
    missing = [name for name in ("size", "counts") if name not in runs]
    if missing:
        raise ValueError(f"expected RLE with size and counts, got no {missing[0]}")
    if not isinstance(runs["size"], list) or runs["size"] != list(size):
        raise ValueError(f"has RLE of size {runs['size']!r:.40}, expected {list(size)} (H, W)")
    counts = runs["counts"]
    if isinstance(counts, str):
        counts = _unpacked(counts)
    if not isinstance(counts, list) or any(type(one) is not int for one in counts):
        raise ValueError("expected RLE counts that are whole numbers, or a string of them")
    if sum(counts) != size[0] * size[1] or min(counts) < 0:
        smallest = f", the smallest {min(counts)}" if min(counts, default=0) < 0 else ""
        raise ValueError(
            f"has RLE counts of {sum(counts)} pixels{smallest}, expected {size[0] * size[1]}"
        )
    return np.array(counts, dtype=np.int64)


def _unpacked(text: str) -> list[int]:
    """The numbers in a string of compressed RLE."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - _FIRST
        if not 0 <= code < 2 * _MORE or shift > _MAX_SHIFT:
            raise ValueError(f"has RLE counts that no encoder writes, at letter {letter!r}")
        value |= (code & (_MORE - 1)) << shift
        shift += _BITS
        if code & _MORE:
            continue
        if code & _SIGN:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("has RLE counts that end in the middle of a number")
    return counts


def _inside(ring: NDArray[np.float64], size: tuple[int, int], margin: float) -> NDArray[np.bool_]:
    """Whether each corner is inside an image of (H, W) extended by `margin` pixels, (n,), bool."""
    height, width = size
    inside: NDArray[np.bool_] = (ring >= -margin) & (ring <= (width + margin, height + margin))
    return np.asarray(inside.all(1))


def _meets(ring: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Whether the bounding box of a polygon touches an image of (H, W)."""
    return bool((ring.max(0) >= 0).all() and (ring.min(0) <= size[::-1]).all())


def stated_size(size: tuple[int, int]) -> str:
    """The size (H, W) as text."""
    return f"{size[1]} x {size[0]} pixels"
