"""The kinds of finding about map files, each with its fix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from weakclip.data.check.finding import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from weakclip.data.formats.image_maps import ImageMaps

TOLERANCE = 1e-3
"""Excess over [0, 1] that can be due to rounding: SEAM's minimum is slightly below 0."""

MISSING = Kind(
    name="maps-missing",
    severity="breaks",
    what="tagged images without a file of maps",
    fix="make the maps, or leave these images out of the list; names must agree but for the suffix",
)
SEVERAL = Kind(
    name="maps-ambiguous",
    severity="breaks",
    what="images whose file cannot be distinguished from that of another",
    fix="give each image one file, of the same path but for the suffix",
)
UNREADABLE = Kind(
    name="maps-unreadable",
    severity="breaks",
    what="files that are damaged, unsafe or of another format",
    fix="see the message of each; name the format if it was not detected",
)
SIZE = Kind(
    name="maps-size",
    severity="breaks",
    what="maps of another image's size",
    fix="make them from these images; files and images may be of different versions",
)
NOT_FINITE = Kind(
    name="maps-not-finite",
    severity="breaks",
    what="maps with NaN or infinity",
    fix="make them again: a map without a positive value must not be divided by its maximum of 0",
)
RANGE = Kind(
    name="maps-range",
    severity="breaks",
    what="maps with values outside [0, 1]",
    fix="divide each map by its maximum, as scale='max' does on reading",
)
LABELS = Kind(
    name="maps-labels",
    severity="breaks",
    what="maps of classes that the data set does not have",
    fix="give all classes; COCO's own ids, 1 to 90, are numbering='original'",
)
UNTAGGED = Kind(
    name="maps-untagged-class",
    severity="biases",
    what="maps of classes that the image is not tagged with; they are not used",
    fix="compare the tags: they may be of different versions, or classes counted from 1 here",
)
CLASS_MISSING = Kind(
    name="maps-class-missing",
    severity="biases",
    what="tags without a map; the class gets no pixel",
    fix="compare the tags: they may be of different versions",
)
SURPLUS = Kind(
    name="maps-surplus",
    severity="note",
    what="files of maps that belong to no image of the list",
    fix="none needed, if the list is a part of the data set on purpose",
)
KINDS = (
    MISSING, SEVERAL, UNREADABLE, SIZE, NOT_FINITE, RANGE, LABELS, UNTAGGED, CLASS_MISSING, SURPLUS,
)  # fmt: skip
"""All kinds in the order of a report: by severity."""


def problems(
    labels: Sequence[int], maps: ImageMaps, tags: Tensor, size: tuple[int, int]
) -> Iterator[tuple[Kind, str]]:
    """The problems of one image's maps, as kind and details.

    `labels` are those of the K maps in the numbering of the data set, `tags` are (F,), bool, and
    `size` is (H, W).
    """
    misfit = maps.misfit(size)
    if misfit:
        yield SIZE, misfit
    foreign = [label for label in labels if not 1 <= label <= len(tags)]
    if foreign:
        yield LABELS, f"label {maps.labels[labels.index(foreign[0])]} of 1 to {len(tags)}"
    for label, one in zip(maps.labels, maps.maps, strict=True):
        low, high = float(one.min()), float(one.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            yield NOT_FINITE, f"label {label}"
        elif low < -TOLERANCE or high > 1 + TOLERANCE:
            yield RANGE, f"label {label} has {low:.4g} to {high:.4g}"
    if maps.kind == "map":  # a network's probabilities do not depend on tags
        tagged = {index + 1 for index, tag in enumerate(tags.tolist()) if tag}
        for kind, several in (
            (UNTAGGED, set(labels) - tagged - set(foreign)),
            (CLASS_MISSING, tagged - set(labels)),
        ):
            if several:
                yield kind, f"label {', '.join(map(str, sorted(several)))}"
