from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pycocotools import mask as rle

from weakclip.data.build.coco_masks import class_mask
from weakclip.data.build.coco_outline import Polygons, Runs, outline_of
from weakclip.data.read.instances import CocoObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from weakclip.data.read.instances import Segmentation

SIZE = (6, 8)
NAN, INFINITY = float("nan"), float("inf")


def runs(counts: object, size: Sequence[int] = SIZE) -> dict[str, Any]:
    return {"size": list(size), "counts": counts}


def region(segmentation: Segmentation) -> NDArray[np.bool_]:
    thing = CocoObject(id=1, category=1, crowd=False, segmentation=segmentation)
    return class_mask([thing], SIZE, {1: 1}).astype(np.bool_)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "has no segmentation"),
        ("polygon", "expected polygons or RLE, got str"),
        ([], "has an empty segmentation"),
        ([[]], "got 0"),
        ([[0, 0, 4, 4]], "got 4, perhaps a box"),
        ([[0, 0, 4, 0, 4, 4], [1, 1, 2, 2]], "got 4, perhaps a box"),
        ([[0, 0, 4, 4, 2, 2, 1]], "got 7"),
        ([0, 0, 4, 0, 4, 4], r"polygons \[\[x, y, .* got int"),
        ([[[0, 0], [4, 0], [4, 4]]], "of numbers, got something else"),
        ([{"x": 1}], "got dict"),
        ([["0", "0", "4", "0", "4", "4"]], "of numbers"),
        ([[True, 0, 4, 0, 4, 4]], "of numbers"),
        ([[None, 0, 4, 0, 4, 4]], "of numbers"),
        ([[NAN, 0, 4, 0, 4, 4]], "not a number, or infinite"),
        ([[0, 0, 4, -INFINITY, 4, 4]], "not a number, or infinite"),
        ([[0, 0, 4, 10**400, 4, 4]], "not a number, or infinite"),
        ([[0, 0, 1e9, 0, 4, 4]], "x 1e[+]09, y 4, far out of the image of 8 x 6 pixels"),
        ([[0, 0, 4, -1e30, 4, 4]], "far out of"),
        ([[-5, -5, -2, -5, -2, -2]], "outside of the image"),
        ([[9, 0, 12, 0, 12, 5]], "outside of the image"),
        ([[0, 0, 8, 6] * 100_000], "has a polygon 1600000 pixels long"),
        ({}, "got no size"),
        ({"size": [6, 8]}, "got no counts"),
        (runs([48], (8, 6)), r"RLE of size \[8, 6\], expected \[6, 8\]"),
        (runs([48], (6, 8, 1)), "RLE of size"),
        ({"size": 48, "counts": [48]}, "RLE of size 48"),
        (runs([]), "RLE counts of 0 pixels, expected 48"),
        (runs([47]), "RLE counts of 47 pixels"),
        (runs([49]), "RLE counts of 49 pixels"),
        (runs([50, -2]), "of 48 pixels, the smallest -2"),
        (runs([40, 2**64, 8 - 2**64]), "the smallest -"),
        (runs([48.0]), "whole numbers"),
        (runs(["48"]), "whole numbers"),
        (runs([True, 47]), "whole numbers"),
        (runs(48), "whole numbers"),
        (runs(None), "whole numbers"),
        (runs(""), "RLE counts of 0 pixels"),
        (runs("T"), "end in the middle"),
        (runs("0!"), "no encoder writes, at letter '!'"),
        (runs("nonsense"), "no encoder writes, at letter 's'"),
        (runs("é"), "no encoder writes"),
        (runs("o" * 100), "no encoder writes"),
    ],
)
def test_what_cannot_be_drawn_is_refused(segmentation: Segmentation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        outline_of(segmentation, SIZE)


def test_strings_are_unpacked_as_cocos_own_code_packs_them() -> None:
    generator = np.random.default_rng(0)
    for size in ((1, 1), (6, 8), (40, 300)):
        for share in (0.0, 0.02, 0.5, 1.0):
            inside = generator.random(size) < share
            packed = rle.encode(np.asfortranarray(inside, dtype=np.uint8))
            outline = outline_of(runs(packed["counts"].decode(), size), size)
            assert isinstance(outline, Runs)
            values = np.arange(len(outline.lengths)) % 2
            drawn = np.repeat(values, outline.lengths).reshape(size, order="F")
            assert np.array_equal(drawn, inside)


def test_a_string_that_is_too_short_leaves_no_pixel_to_chance() -> None:
    inside = np.zeros(SIZE, dtype=np.uint8, order="F")
    inside[2:4, 2:6] = 1
    text = rle.encode(inside)["counts"].decode()
    for length in range(len(text)):
        with pytest.raises(ValueError, match=r"pixels|middle"):
            region(runs(text[:length]))
    assert np.array_equal(region(runs(text)), inside)


def test_what_reaches_over_the_edge_is_cut_off() -> None:
    inside = np.zeros(SIZE, dtype=np.bool_)
    inside[:, :4] = True
    assert np.array_equal(region([[-4, -4, 4, -4, 4, 11, -4, 11]]), inside)


def test_corners_within_a_margin_are_told_from_others() -> None:
    outline = outline_of([[0, 0, 8.5, 0, 8.5, 6]], SIZE)
    assert isinstance(outline, Polygons)
    assert outline.within(SIZE, 1.0)
    assert not outline.within(SIZE, 0.0)


@pytest.mark.skipif(sys.platform == "win32", reason="no `ulimit`")
def test_absurd_coordinates_take_no_memory() -> None:
    """As a process of its own: the C code would end it."""
    code = (
        "from weakclip.data.build.coco_outline import outline_of\n"
        "n = float('nan')\n"
        "for far in (1e9, -1e9, 4e8, 2.0**31, 1e300, n, -n, float('inf')):\n"
        "    for corner in range(6):\n"
        "        ring = [0.0, 0.0, 50.0, 0.0, 50.0, 50.0]\n"
        "        ring[corner] = far\n"
        "        try:\n"
        "            outline_of([ring], (80, 120))\n"
        "        except ValueError:\n"
        "            continue\n"
        "        raise SystemExit(f'{ring} was taken')\n"
        "import resource\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    limited = ["bash", "-c", 'ulimit -v 2000000; exec "$0" -c "$1"', sys.executable, code]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(limited, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
