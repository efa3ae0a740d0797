"""Annotated masks with errors that are typical of seeds, at a chosen strength.

An object is a connected region (4-neighbourhood) of one class. For an image and generator the
random draws are the same at every strength. So, except for `leakage`, a stronger corruption
includes the errors of a weaker one. Strength 0 changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from scipy import ndimage

from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Labels: TypeAlias = NDArray[np.uint8]
    Region: TypeAlias = NDArray[np.bool_]

Corruption: TypeAlias = Literal["parts", "eroded", "dilated", "leakage", "flipped", "missing"]
CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)
_RING = 3  # width in pixels of the ring around an object that gives the colour of its surroundings


def corrupted(
    gt_mask: Labels,
    image: NDArray[np.uint8],
    tags: Sequence[int],
    corruption: Corruption,
    strength: float,
    generator: Generator,
) -> Labels:
    """A label map with one kind of error.

    `parts`: only a part of each object is kept, as in a class activation map: the pixels nearest to
    a random pixel of the object. A fraction `strength` of its pixels becomes background.
    `eroded`: pixels whose distance to the object's border is at most `strength` times the largest
    such distance become background.
    `dilated`: background whose distance to the object is at most `strength` times the radius of a
    disc of the object's area takes its class.
    `leakage`: the class spreads into the surroundings of the object, e.g. that of a boat into
    water. Background pixels that are near the object, and whose colour is similar to the median
    colour around it, take its class; their area is `strength` times the object's.
    `flipped`: with probability `strength` an object gets the class of another tag of the image.
    `missing`: with probability `strength` an object becomes background.

    Args:
        gt_mask: Annotated mask, (H, W); void counts as background.
        image: (H, W, 3), RGB.
        tags: Labels of the image's tags, 1 or more each.
        corruption: Kind of error.
        strength: 0 or more; at most 1, except for `dilated` and `leakage`.
        generator: Random generator.

    Returns:
        (H, W), 0 and labels of `gt_mask` and `tags`; no void.

    Raises:
        ValueError: If the corruption is unknown, the strength is out of range, or the shapes
            differ.
    """
    if corruption not in CORRUPTIONS:
        raise ValueError(f"corruption: expected one of {', '.join(CORRUPTIONS)}, got {corruption}")
    highest = np.inf if corruption in ("dilated", "leakage") else 1
    if not 0 <= strength <= highest:
        raise ValueError(f"strength of {corruption}: expected 0 to {highest:g}, got {strength}")
    if image.shape != (*gt_mask.shape, 3):
        raise ValueError(f"expected an image of the mask's {gt_mask.shape}, got {image.shape}")
    truth = np.where(gt_mask == IGNORE, np.uint8(BACKGROUND), gt_mask)
    match corruption:
        case "leakage":
            return _leaked(truth, image, strength)
        case "dilated":
            return _dilated(truth, strength)
        case "flipped":
            return _flipped(truth, tags, strength, generator)
    found = truth.copy()
    for _, region in _objects(truth):
        found[_LOSSES[corruption](region, strength, generator)] = BACKGROUND
    return found


def _objects(truth: Labels) -> Iterator[tuple[int, Region]]:
    """Label and pixels of every object, in the order of labels, then from the top."""
    for label in np.unique(truth[truth != BACKGROUND]).tolist():
        regions, count = ndimage.label(truth == label)
        for number in range(1, count + 1):
            yield label, regions == number


def _hidden_parts(region: Region, strength: float, generator: Generator) -> Region:
    rows, columns = region.nonzero()
    centre = int(generator.integers(len(rows)))
    distance = (rows - rows[centre]) ** 2 + (columns - columns[centre]) ** 2
    lost = np.argsort(distance, kind="stable")[len(rows) - round(strength * len(rows)) :]
    found = np.zeros_like(region)
    found[rows[lost], columns[lost]] = True
    return found


def _rim(region: Region, strength: float, generator: Generator) -> Region:
    del generator
    inner = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    rim: Region = region & (inner <= strength * inner.max())
    return rim


def _whole(region: Region, strength: float, generator: Generator) -> Region:
    return region & (generator.random() < strength)


_LOSSES: Mapping[str, Callable[[Region, float, Generator], Region]] = {
    "parts": _hidden_parts,
    "eroded": _rim,
    "missing": _whole,
}
"""Corruption -> function that returns the pixels of an object that become background."""


def _dilated(truth: Labels, strength: float) -> Labels:
    """Dilate all objects; a pixel within reach of several takes the class of the nearest."""
    found, nearest = truth.copy(), np.full(truth.shape, np.inf)
    for label, region in _objects(truth):
        distance = ndimage.distance_transform_edt(~region)
        reached = (distance <= strength * np.sqrt(region.sum() / np.pi)) & (distance < nearest)
        taken = reached & (truth == BACKGROUND)
        found[taken], nearest[taken] = label, distance[taken]
    return found


def _leaked(truth: Labels, image: NDArray[np.uint8], strength: float) -> Labels:
    """Let objects leak one after the other; a pixel that one has taken is not free any more."""
    found, colours = truth.copy(), image.astype(np.float64) / 255
    for label, region in _objects(truth):
        distance = ndimage.distance_transform_edt(~region)
        ring = (distance <= _RING) & (truth == BACKGROUND)
        free = found == BACKGROUND
        if not ring.any() or not free.any():
            continue
        median = np.median(colours[ring], axis=0)
        cost = np.linalg.norm(colours - median, axis=2) + distance / np.hypot(*truth.shape)
        places = np.flatnonzero(free)
        order = places[np.argsort(cost.reshape(-1)[places], kind="stable")]
        found.reshape(-1)[order[: round(strength * int(region.sum()))]] = label
    return found


def _flipped(truth: Labels, tags: Sequence[int], strength: float, generator: Generator) -> Labels:
    found = truth.copy()
    for label, region in _objects(truth):
        chance, choice = generator.random(2)
        others = [tag for tag in tags if tag != label]
        if others and chance < strength:
            found[region] = others[int(choice * len(others))]
    return found
