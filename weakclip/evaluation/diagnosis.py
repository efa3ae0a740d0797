"""What costs most mIoU: how much higher it would be if one kind of error did not occur.

A cause is a set of wrong pixels. Correcting them moves counts: each becomes a hit of its annotated
class and leaves the class that it was taken for. The gain is the mIoU with these counts minus the
mIoU as it is. Causes overlap (a missed pixel of a cat may lie near a contour), and mIoU is no sum,
so gains do not add up; correcting everything gives 100 %.

References:
    Hoiem, Chodpathumwan and Dai, "Diagnosing Error in Object Detectors", ECCV 2012 (the score if
    one kind of error were removed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from weakclip.evaluation.comparison import draws, interval
from weakclip.evaluation.scores import SIZES, Absent, mean_iou
from weakclip.ops.cells import GROUP, IMAGE, PIXELS, PREDICTED, TRUTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

WIDTHS = (3, 5, 9)
"""Pixels: widths of the bands around the contours of the ground truth."""
CONTOUR = "contour"
"""The view that every diagnosis has; the groups of its cells are bands."""
OTHER = ""
"""Name of the group of pixels that a view is not about."""
BOTH = " | "
"""Between the names of two views, and of their groups, that are stored as one."""
PAIRS = 10
"""Pairs of classes: those that share most wrong pixels."""
_MOST_CLASSES = 3  # images with more count together


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Pixels of a result by something that is known of them."""

    name: str
    groups: tuple[str, ...]
    """Name of each group."""
    cells: NDArray[np.integer]
    """(M, 5); see `weakclip.ops.cells`."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The wrong pixels of some groups, annotated and predicted classes; empty: of all."""

    view: str
    name: str
    groups: tuple[int, ...] = ()
    truth: tuple[int, ...] = ()
    predicted: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A cause; shares are NaN where there is nothing to divide."""

    cause: Cause
    gain: NDArray[np.float64]
    """mIoU without these errors minus mIoU, under each of R weightings of the images."""
    errors: float
    """Share of all wrong pixels."""
    pixels: float
    """Share of all pixels that are in the groups and of the annotated classes."""
    right: float
    """Share of those without this error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a cause costs, as fractions."""

    view: str
    name: str
    gain: float
    low: float
    high: float
    """Ends of the 95 % interval of the gain, for other images."""
    errors: float
    pixels: float
    right: float


def contour_groups(widths: Sequence[int] = WIDTHS) -> tuple[str, ...]:
    """Names of the groups of `contour_bands`.

    Example:
        >>> contour_groups((3, 5))
        ('up to 3 px from a contour', 'up to 5 px from a contour', 'interior, beyond 5 px')
    """
    bands = (f"up to {width} px from a contour" for width in widths)
    return (*bands, f"interior, beyond {widths[-1]} px")


def views_of(contour: View) -> list[View]:
    """The view of the contours, and what follows from it: sizes and numbers of classes.

    Args:
        contour: Cells by band, of all images.
    """
    cells = contour.cells
    images = int(cells[:, IMAGE].max(initial=-1)) + 1
    classes = int(cells[:, TRUTH].max(initial=0)) + 1
    area = np.zeros((images, classes), dtype=np.int64)
    np.add.at(area, (cells[:, IMAGE], cells[:, TRUTH]), cells[:, PIXELS])
    edges = [low for low, _ in SIZES.values()]
    size = np.searchsorted(edges, area[cells[:, IMAGE], cells[:, TRUTH]], side="right")
    size[cells[:, TRUTH] == 0] = 0
    shown = np.minimum((area[:, 1:] > 0).sum(axis=1), _MOST_CLASSES)[cells[:, IMAGE]]
    numbers = ("no class", "1 class", "2 classes", f"{_MOST_CLASSES} or more classes")
    return [
        contour,
        View("size", (OTHER, *(f"{name} objects" for name in SIZES)), _regrouped(cells, size)),
        View("classes", tuple(f"images of {one}" for one in numbers), _regrouped(cells, shown)),
    ]


def separate(view: View) -> list[View]:
    """The views that are stored as one; itself if it is only one.

    Example:
        >>> both = View("size | light", ("big | day", "small | day"), np.array([[0, 1, 0, 0, 9]]))
        >>> [(each.name, each.groups, int(each.cells[0, GROUP])) for each in separate(both)]
        [('size', ('big', 'small'), 1), ('light', ('day',), 0)]
    """
    found = []
    for place, name in enumerate(view.name.split(BOTH)):
        parts = [group.split(BOTH)[place] for group in view.groups]
        groups = tuple(dict.fromkeys(parts))
        numbers = np.array([groups.index(part) for part in parts])
        found.append(View(name, groups, _regrouped(view.cells, numbers[view.cells[:, GROUP]])))
    return found


def causes_of(view: View, class_names: Sequence[str]) -> list[Cause]:
    """The causes that a view tells apart; the view of the contours also has kinds and classes.

    Args:
        view: With the cells of everything that is to be compared, so that all get the same causes.
        class_names: K names, background first.
    """
    names = tuple(view.groups)
    if view.name != CONTOUR:
        found = np.unique(view.cells[:, GROUP]).tolist()
        return [
            Cause(view.name, names[group], (group,)) for group in found if names[group] != OTHER
        ]
    bands = [
        Cause(CONTOUR, name, tuple(range(place + 1)) if place < len(names) - 1 else (place,))
        for place, name in enumerate(names)
    ]
    known = bands if len(names) > 1 else []
    return [*_kinds(len(class_names)), *_classes(class_names), *_pairs(view, class_names), *known]


def measure(
    view: View,
    causes: Sequence[Cause],
    weightings: Iterable[NDArray[np.integer]],
    num_classes: int,
    absent: Absent = "union",
) -> list[Measured]:
    """What each cause costs under weightings of the images.

    Args:
        view: Cells of N images.
        causes: Of this view.
        weightings: Arrays (r, N): how often each image counts.
        num_classes: K, background included.
        absent: See `Absent`.
    """
    keys, pixels = _pooled(view.cells, num_classes)
    wrong = keys[:, 1] != keys[:, 2]
    design = _design(keys[:, 1], keys[:, 2], num_classes)
    corrected = _design(keys[:, 1], keys[:, 1], num_classes) - design
    places = [_inside(cause, keys) for cause in causes]
    gains: list[list[NDArray[np.float64]]] = [[] for _ in causes]
    for weights in weightings:
        drawn = np.asarray(pixels.T @ weights[:, : pixels.shape[0]].T.astype(np.float64)).T
        counts = drawn @ design
        base = _score(counts, num_classes, absent)
        for gain, (_, chosen) in zip(gains, places, strict=True):
            better = counts + drawn[:, chosen] @ corrected[chosen]
            gain.append(_score(better, num_classes, absent) - base)
    all_images = np.asarray(pixels.sum(axis=0)).ravel()
    total, errors = all_images.sum(), all_images[wrong].sum()
    found = []
    for cause, gain, (area, chosen) in zip(causes, gains, places, strict=True):
        inside, lost = all_images[area].sum(), all_images[chosen].sum()
        shares = (_share(lost, errors), _share(inside, total), _share(inside - lost, inside))
        found.append(Measured(cause, np.concatenate(gain), *shares))
    return found


def diagnose(
    cells: NDArray[np.integer],
    class_names: Sequence[str],
    images: int,
    *,
    widths: Sequence[int] = WIDTHS,
    absent: Absent = "union",
) -> tuple[Cost, ...]:
    """What costs most, of one result.

    Args:
        cells: By band around the contours; see `weakclip.ops.cells.contour_bands`.
        class_names: K names, background first.
        images: N.
        widths: Of the bands.
        absent: See `Absent`.

    Returns:
        All causes that have a wrong pixel or are a group, the costliest first.
    """
    found = []
    for view in views_of(View(CONTOUR, contour_groups(widths), cells)):
        everything = np.ones((1, images), dtype=np.int64)
        weightings = (everything, *draws(images))
        found += measure(view, causes_of(view, class_names), weightings, len(class_names), absent)
    costs = [_cost(each, images) for each in found]
    return tuple(sorted(costs, key=lambda cost: -cost.gain if cost.gain == cost.gain else 1.0))


def _cost(found: Measured, images: int) -> Cost:
    gain = float(found.gain[0])
    low, high, _ = interval(gain, float(found.gain[1:].std(ddof=1)), images)
    return Cost(
        view=found.cause.view, name=found.cause.name, gain=gain, low=low, high=high,
        errors=found.errors, pixels=found.pixels, right=found.right,
    )  # fmt: skip


def _kinds(classes: int) -> list[Cause]:
    """A partition of all wrong pixels."""
    objects = tuple(range(1, classes))
    return [
        Cause("kind", "background taken for an object", (), (0,), objects),
        Cause("kind", "object taken for background", (), objects, (0,)),
        Cause("kind", "object taken for another class", (), objects, objects),
        Cause("kind", "undecided", (), (), (classes,)),
    ]


def _classes(class_names: Sequence[str]) -> list[Cause]:
    """Surplus and missed pixels of each class, against the background."""
    return [
        cause
        for label, name in enumerate(class_names)
        if label
        for cause in (
            Cause("class", f"background taken for {name}", (), (0,), (label,)),
            Cause("class", f"{name} taken for background", (), (label,), (0,)),
        )
    ]


def _pairs(view: View, class_names: Sequence[str]) -> list[Cause]:
    """The pairs of objects that are taken for each other most."""
    classes = len(class_names)
    keys, pixels = _pooled(view.cells, classes)
    table = np.zeros((classes, classes + 1))
    np.add.at(table, (keys[:, 1], keys[:, 2]), np.asarray(pixels.sum(axis=0)).ravel())
    both = table[:, :classes] + table[:, :classes].T
    pairs = [(both[one, two], one, two) for one, two in combinations(range(1, classes), 2)]
    return [
        Cause(
            "pair",
            f"{class_names[one]} and {class_names[two]} confused",
            (),
            (one, two),
            (one, two),
        )
        for number, one, two in sorted(pairs, key=lambda pair: -pair[0])[:PAIRS]
        if number
    ]


def _inside(cause: Cause, keys: NDArray[np.integer]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which cells are of the groups and annotated classes of a cause, and which it corrects."""
    area = np.ones(len(keys), dtype=np.bool_)
    for column, wanted in ((0, cause.groups), (1, cause.truth)):
        if wanted:
            area &= np.isin(keys[:, column], wanted)
    chosen = area & (keys[:, 1] != keys[:, 2])
    if cause.predicted:
        chosen &= np.isin(keys[:, 2], cause.predicted)
    return area, chosen


def _pooled(
    cells: NDArray[np.integer], num_classes: int
) -> tuple[NDArray[np.int64], sparse.csr_matrix]:
    """Group, annotated and predicted class that occur, (C, 3), and their pixels by image (N, C)."""
    sizes = (int(cells[:, GROUP].max(initial=0)) + 1, num_classes, num_classes + 1)
    codes = np.ravel_multi_index(cells[:, GROUP : PREDICTED + 1].T, sizes)
    known, column = np.unique(codes, return_inverse=True)
    keys = np.stack(np.unravel_index(known, sizes), axis=1)
    images = int(cells[:, IMAGE].max(initial=-1)) + 1
    shape = (images, len(known))
    values = cells[:, PIXELS].astype(np.float64)
    return keys, sparse.csr_matrix((values, (cells[:, IMAGE], column)), shape=shape)


def _design(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int
) -> NDArray[np.float64]:
    """What a pixel of each cell adds to the counts of the classes, (C, K * 3)."""
    design = np.zeros((len(truth), num_classes + 1, 3))  # the last class is undecided
    rows = np.arange(len(truth))
    design[rows, truth, 2] = 1
    design[rows, predicted, 1] = 1
    design[rows, truth, 0] = truth == predicted
    return design[:, :num_classes].reshape(len(truth), -1)


def _score(counts: NDArray[np.float64], num_classes: int, absent: Absent) -> NDArray[np.float64]:
    return mean_iou(counts.reshape(len(counts), num_classes, 3), absent)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _regrouped(cells: NDArray[np.integer], groups: NDArray[np.integer]) -> NDArray[np.integer]:
    found = cells.copy()
    found[:, GROUP] = groups
    return found
