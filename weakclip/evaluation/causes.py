"""Kinds of error: sets of wrong pixels defined by classes and by groups of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from weakclip.evaluation.scores import SIZES
from weakclip.ops.cells import GROUP, IMAGE, PIXELS, PREDICTED, TRUTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WIDTHS = (3, 5, 9)
"""Widths, in pixels, of the bands around the contours of the ground truth."""
CONTOUR = "contour"
"""Name of the view that every diagnosis has; its groups are the bands around the contours."""
OTHER = ""
"""Name of the group of pixels to which a view does not apply."""
BOTH = " | "
"""Separates the names of two views, and of their groups, that are stored as one view."""
PAIRS = 10
"""Number of class pairs reported: those most often confused."""
_MOST_CLASSES = 3  # images with this many classes or more form one group


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The pixels of a result, divided into groups by one property."""

    name: str
    groups: tuple[str, ...]
    """Name of each group."""
    cells: NDArray[np.integer]
    """(M, 5); see `weakclip.ops.cells`."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A set of wrong pixels, by group, annotated class and predicted class; empty means any."""

    view: str
    name: str
    groups: tuple[int, ...] = ()
    truth: tuple[int, ...] = ()
    predicted: tuple[int, ...] = ()


def contour_groups(widths: Sequence[int] = WIDTHS) -> tuple[str, ...]:
    """Names of the groups that `contour_bands` returns.

    Example:
        >>> contour_groups((3, 5))
        ('up to 3 px from a contour', 'up to 5 px from a contour', 'interior, beyond 5 px')
    """
    bands = (f"up to {width} px from a contour" for width in widths)
    return (*bands, f"interior, beyond {widths[-1]} px")


def views_of(contour: View) -> list[View]:
    """The view of the bands, over all images, and those by object size and number of classes."""
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
    """The views that are stored as one view; a list with the view itself if it is a single one.

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
    """The causes that a view distinguishes; the contour view also has kinds, classes and pairs.

    The view has the cells of all results that are to be compared, so that all get the same causes;
    `class_names` are K, background first.
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


def _kinds(classes: int) -> list[Cause]:
    """A partition of all wrong pixels into four kinds."""
    objects = tuple(range(1, classes))
    return [
        Cause("kind", "background taken for an object", (), (0,), objects),
        Cause("kind", "object taken for background", (), objects, (0,)),
        Cause("kind", "object taken for another class", (), objects, objects),
        Cause("kind", "undecided", (), (), (classes,)),
    ]


def _classes(class_names: Sequence[str]) -> list[Cause]:
    """False positives and false negatives of each class against the background."""
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
    """The pairs of foreground classes that are confused most often."""
    classes = len(class_names)
    cells = view.cells
    table = np.zeros((classes, classes + 1), dtype=np.int64)
    np.add.at(table, (cells[:, TRUTH], cells[:, PREDICTED]), cells[:, PIXELS])
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


def _regrouped(cells: NDArray[np.integer], groups: NDArray[np.integer]) -> NDArray[np.integer]:
    found = cells.copy()
    found[:, GROUP] = groups
    return found
