"""The segmentation of an annotation, looked at before it is drawn.

The C code that draws trusts what it is given: a coordinate of 1e9 takes all memory, counts that
are too few leave memory undefined in the mask. So numbers, lengths and places are compared with
the image first, and all that is drawn comes from here.

References:
    The string of COCO's compressed RLE: base 64 from "0" on, five bits a letter and a bit that
    says whether more follow, the lowest first; from the fourth number on, differences to the
    number before the last. https://github.com/cocodataset/cocoapi
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weakclip.data.read.instances import Segmentation

CORNERS = 3
"""A polygon has as many or more; four numbers would be read as a box."""
MAX_LENGTH = 1 << 20
"""Pixels around a polygon: an image of 10,000 x 10,000 would be surrounded 26 times."""
_BITS, _MORE, _SIGN, _FIRST = 5, 0x20, 0x10, ord("0")
_MAX_SHIFT = 60


@dataclass(frozen=True, slots=True)
class Polygons:
    """Closed polygons, together one region."""

    rings: tuple[NDArray[np.float64], ...]
    """(n, 2) each: x, y in pixels from the upper left corner."""

    def within(self, size: tuple[int, int], margin: float) -> bool:
        """Whether no corner is further than `margin` pixels outside an image of (H, W)."""
        return all(bool(_inside(ring, size, margin).all()) for ring in self.rings)


@dataclass(frozen=True, slots=True)
class Runs:
    """Lengths of runs down the columns, outside and inside in turn, which fill the image."""

    lengths: NDArray[np.int64]


def outline_of(segmentation: Segmentation, size: tuple[int, int]) -> Polygons | Runs:
    """The polygons or runs of a segmentation that can be drawn into an image of (H, W).

    Corners may lie up to one image outside: tools draw over the edge, and that is cut off.

    Raises:
        ValueError: If it is malformed, of another size, or wholly outside.
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
    except OverflowError:  # a whole number of hundreds of digits
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
    """The run lengths of an RLE, checked."""
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
    """The numbers of a string of compressed RLE."""
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
    """Which corners lie in an image of (H, W) or at most `margin` pixels outside, (n,)."""
    height, width = size
    inside: NDArray[np.bool_] = (ring >= -margin) & (ring <= (width + margin, height + margin))
    return np.asarray(inside.all(1))


def _meets(ring: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Whether the box around a polygon and an image of (H, W) have a point in common."""
    return bool((ring.max(0) >= 0).all() and (ring.min(0) <= size[::-1]).all())


def stated_size(size: tuple[int, int]) -> str:
    """(H, W) as messages say it."""
    return f"{size[1]} x {size[0]} pixels"
