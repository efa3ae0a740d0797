"""The compiled loops of mean-field inference.

They run without Python, and are therefore separate from `mean_field.py`, which distributes the
work. A tile of pixels at a time gathers the values of the vertices around it, is normalised, and
immediately splats its marginals to the vertices; all labels of a pixel are in one vector.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weakclip.crf.compiled.jit import compiled
from weakclip.crf.compiled.simd import (
    add,
    add_product,
    larger,
    largest,
    load,
    multiply,
    power_of_two,
    store,
    total,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weakclip.crf.compiled.simd import Lanes

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int32]

_TILE = 256  # pixels that are gathered, normalised and splatted together
_LOG2_E = math.log2(math.e)

Unsigned = np.uint64  # numba checks signed indices for counting from the end


class Term(NamedTuple):
    """Data of one term for an image of N pixels.

    Attributes:
        corners: Vertices around each pixel, numbered from `first`, (N, d+1).
        shares: Their weights, (N, d+1).
        beside: The vertices below and above each along each axis, or itself, (d+1, M', 2).
        first: First vertex of the image in `corners` and `beside`.
        factor: Weight of the term.
        tables: Values of the image's M vertices, labels padded to whole vectors, (P + 2, M, L'):
            one table for the splats of each of P pieces of the image, and two for the blur.
    """

    corners: Integers
    shares: Floats
    beside: Integers
    first: np.uint64
    factor: np.float32
    tables: Floats


class Image(NamedTuple):
    """Input, output and working memory of the inference of one image.

    Attributes:
        unary: Energies, (L, N).
        terms: At least one.
        logits: Base-2 logits of the unary, (N, L'), written by the first update.
        found: Receives the marginals, (L, N).
        iterations: Number of updates after the first marginals, which use the unary alone.
    """

    unary: Floats
    terms: tuple[Term, ...]
    logits: Floats
    found: Floats
    iterations: int


@compiled
def iterate(image: Image, lanes: Lanes) -> None:
    """Run all updates of an image in one piece."""
    for step in range(image.iterations + 1):
        update(image, lanes, step, 0, (0, len(image.logits)))
        if step < image.iterations:
            for t in range(len(image.terms)):
                blur(image.terms[t], lanes)


@compiled
def update(image: Image, lanes: Lanes, step: int, piece: int, pixels: tuple[int, int]) -> None:
    """Compute the marginals of a range of pixels, and splat them to the `piece`-th tables.

    The first step uses only the unary; the last step writes to the maps instead of the tables.
    """
    rows = np.empty((_TILE, image.logits.shape[1]), np.float32)
    begin, end = pixels
    for t in range(len(image.terms)):
        image.terms[t].tables[piece] = 0
    for start in range(begin, end, _TILE):
        count = min(_TILE, end - start)
        logits = image.logits[start : start + count]
        if step == 0:
            _enter(image.unary, start, logits)
        given = logits
        if step > 0:
            for t in range(len(image.terms)):
                _gather(image.terms[t], lanes, start, given, rows[:count])
                given = rows[:count]
        _normalise(lanes, given, rows)
        if step == image.iterations:
            _leave(rows[:count], start, image.found)
        else:
            for t in range(len(image.terms)):
                _splat(image.terms[t], lanes, piece, start, rows[:count])


@compiled
def _enter(unary: Floats, start: int, logits: Floats) -> None:
    """Logits of a tile of pixels from energies; padded labels get -inf, a probability of 0."""
    labels, scale = len(unary), np.float32(-_LOG2_E)
    logits[:, labels:] = -np.inf
    for label in range(labels):
        for i in range(len(logits)):
            logits[i, label] = unary[label, start + i] * scale


@compiled
def _leave(rows: Floats, start: int, found: Floats) -> None:
    """Write the marginals of a tile of pixels to the maps."""
    for label in range(len(found)):
        for i in range(len(rows)):
            found[label, start + i] = rows[i, label]


@compiled
def blurred(tables: Floats, axes: int) -> int:
    """Index of a term's table that holds the values after blurring along `axes` axes."""
    return len(tables) - 1 - axes % 2


@compiled
def _gather(term: Term, lanes: Lanes, start: int, given: Floats, rows: Floats) -> None:
    """Sum of given logits of a tile of pixels and the values of the vertices around them."""
    table = term.tables[blurred(term.tables, len(term.beside))]
    wide, around = Unsigned(rows.shape[1]), Unsigned(term.corners.shape[1])
    for i in range(Unsigned(len(rows))):
        pixel = Unsigned(start) + i
        for label in range(Unsigned(0), wide, Unsigned(len(lanes))):
            sums = load(given, i * wide + label, lanes)
            for corner in range(around):
                place = (Unsigned(term.corners[pixel, corner]) - term.first) * wide + label
                sums = add_product(sums, term.shares[pixel, corner], load(table, place, lanes))
            store(rows, i * wide + label, sums)


@compiled
def _normalise(lanes: Lanes, logits: Floats, rows: Floats) -> None:
    """Marginals of a tile of pixels from base-2 logits, which may be in the same rows."""
    wide, step = Unsigned(logits.shape[1]), Unsigned(len(lanes))
    for first in range(Unsigned(0), Unsigned(logits.size), wide):
        most = load(logits, first, lanes)
        for place in range(first + step, first + wide, step):
            most = larger(most, load(logits, place, lanes))
        shift = largest(most)
        sums = power_of_two(load(logits, first, lanes), shift)
        store(rows, first, sums)
        for place in range(first + step, first + wide, step):
            power = power_of_two(load(logits, place, lanes), shift)
            store(rows, place, power)
            sums = add(sums, power)
        inverse = np.float32(1) / total(sums)
        for place in range(first, first + wide, step):
            store(rows, place, multiply(load(rows, place, lanes), inverse))


@compiled
def _splat(term: Term, lanes: Lanes, piece: int, start: int, rows: Floats) -> None:
    """Add the marginals of a tile of pixels to the vertices around them."""
    table = term.tables[piece]
    wide, around = Unsigned(rows.shape[1]), Unsigned(term.corners.shape[1])
    for i in range(Unsigned(len(rows))):
        pixel = Unsigned(start) + i
        for label in range(Unsigned(0), wide, Unsigned(len(lanes))):
            marginals = load(rows, i * wide + label, lanes)
            for corner in range(around):
                place = (Unsigned(term.corners[pixel, corner]) - term.first) * wide + label
                held = load(table, place, lanes)
                store(table, place, add_product(held, term.shares[pixel, corner], marginals))


@compiled
def blur(term: Term, lanes: Lanes) -> None:
    """Blur the splats of all pieces along all axes."""
    vertices = (0, term.tables.shape[1])
    collect(term, lanes, vertices)
    for axis in range(len(term.beside)):
        blur_axis(term, lanes, axis, vertices)


@compiled
def collect(term: Term, lanes: Lanes, vertices: tuple[int, int]) -> None:
    """Add the splats of all pieces to the first table, for a range of vertices."""
    begin, end = vertices[0] * term.tables.shape[2], vertices[1] * term.tables.shape[2]
    together = term.tables[0]
    for piece in range(1, len(term.tables) - 2):
        splatted = term.tables[piece]
        for place in range(Unsigned(begin), Unsigned(end), Unsigned(len(lanes))):
            sums = add(load(together, place, lanes), load(splatted, place, lanes))
            store(together, place, sums)


@compiled
def blur_axis(term: Term, lanes: Lanes, axis: int, vertices: tuple[int, int]) -> None:
    """Blur a range of vertices along an axis, after the previous axes.

    The result of the last axis is a message in base-2 logits.
    """
    source = term.tables[blurred(term.tables, axis) if axis else 0]
    target, around = term.tables[blurred(term.tables, axis + 1)], term.beside[axis]
    wide, half = Unsigned(target.shape[1]), np.float32(0.5)
    last = axis == len(term.beside) - 1
    scale = term.factor * np.float32(_LOG2_E) if last else np.float32(1)
    for vertex in range(Unsigned(vertices[0]), Unsigned(vertices[1])):
        here = term.first + vertex
        below, above = Unsigned(around[here, 0]), Unsigned(around[here, 1])
        lower = half if below != here else np.float32(0)
        upper = half if above != here else np.float32(0)
        below, above = (below - term.first) * wide, (above - term.first) * wide
        for label in range(Unsigned(0), wide, Unsigned(len(lanes))):
            sums = load(source, vertex * wide + label, lanes)
            sums = add_product(sums, lower, load(source, below + label, lanes))
            sums = add_product(sums, upper, load(source, above + label, lanes))
            if last:
                sums = multiply(sums, scale)
            store(target, vertex * wide + label, sums)
