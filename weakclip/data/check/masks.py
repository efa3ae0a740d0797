"""Checks of annotated masks: sizes, values, and agreement of labels with tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weakclip.data.check.finding import Check, Kind
from weakclip.data.read.images import ImageFacts
from weakclip.data.read.tagged import BadImage
from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from weakclip.data.check.survey import Survey

ENOUGH_IMAGES = 3  # fewer do not suffice to infer an order of classes
OTHER_AGREES, OWN_AGREES = 0.8, 0.3  # intersection over union of tags and masks, over images
MANY = 0.1  # fraction of images whose tags and masks may disagree by chance


def unreadable(survey: Survey) -> Iterator[str]:
    """Masks that do not decode."""
    return (facts.reason for facts in survey.masks if isinstance(facts, BadImage))


def coloured(survey: Survey) -> Iterator[str]:
    """Masks that contain no label indices."""
    for index, facts in survey.decoded_masks():
        if facts.labels is None and not facts.lossy:
            yield f"{survey.files.names[index]}: {facts.kind}"


def lossy(survey: Survey) -> Iterator[str]:
    """Masks in a format that changes labels."""
    for index, facts in survey.decoded_masks():
        if facts.lossy:
            yield f"{survey.files.names[index]}: {facts.kind}"


def misfit(survey: Survey) -> Iterator[str]:
    """Masks whose size differs from that of their upright image."""
    for index, facts in survey.decoded_masks():
        image = survey.images[index]
        if isinstance(image, ImageFacts) and image.size != facts.size:
            turned = ", as the image before EXIF turns it" if _turned(image, facts.size) else ""
            name = survey.files.names[index]
            yield f"{name}: image (H, W) {image.size}, mask {facts.size}{turned}"


def out_of_range(survey: Survey) -> Iterator[str]:
    """Masks with a label that is not a class."""
    if _is_binary(survey):
        return
    last = len(survey.files.classes)
    for index, labels in survey.labelled_masks():
        unknown = sorted(label for label in labels if last < label < IGNORE)
        if unknown:
            yield f"{survey.files.names[index]}: label {unknown[0]} of 0 to {last}"


def binary(survey: Survey) -> Iterator[str]:
    """All masks, if they contain only 0 and 255: objects drawn in white would be read as void."""
    if _is_binary(survey):
        yield from (survey.files.names[index] for index, _ in survey.labelled_masks())


def shifted(survey: Survey) -> Iterator[str]:
    """The shift of all labels, if the labels agree with the tags only after a shift by one."""
    shift = _shift(survey)
    if shift:
        yield f"tag of class c goes with label c + 1 {shift:+d} (classes counted from 0)"


def reordered(survey: Survey) -> Iterator[str]:
    """Classes whose tag agrees with the label of another class."""
    if _shift(survey):
        return
    tags, has = _tables(survey)
    classes = survey.files.classes
    agree = _agreement(tags, has[:, 1 : len(classes) + 1])
    for own, name in enumerate(classes):
        other = int(agree[own].argmax())
        enough = tags[:, own].sum() >= ENOUGH_IMAGES
        if enough and agree[own, own] < OWN_AGREES and agree[own, other] > OTHER_AGREES:
            yield f"tag {name!r} (label {own + 1}) goes with label {other + 1} ({classes[other]!r})"


def disagreeing_often(survey: Survey) -> Iterator[str]:
    """Images whose mask has other classes than their tags, if there are many."""
    found = _disagreeing(survey)
    often = len(found) > MANY * sum(1 for _ in survey.labelled_masks())
    return iter(found if often else ())


def disagreeing_rarely(survey: Survey) -> Iterator[str]:
    """Images whose mask has other classes than their tags, if there are few."""
    return iter(() if any(disagreeing_often(survey)) else _disagreeing(survey))


def _disagreeing(survey: Survey) -> list[str]:
    tags, has = _tables(survey)
    classes = survey.files.classes
    present = has[:, 1 : len(classes) + 1]
    found = []
    for row, (index, _) in enumerate(survey.labelled_masks()):
        if (tags[row] != present[row]).any():
            signs = [(present[row] & ~tags[row], "+"), (tags[row] & ~present[row], "-")]
            words = [f"{sign}{classes[c]}" for which, sign in signs for c in which.nonzero()[0]]
            found.append(f"{survey.files.names[index]}: mask {' '.join(words)}")
    return found


def _turned(image: ImageFacts, size: tuple[int, int]) -> bool:
    return image.rotated and image.size[::-1] == size


def _is_binary(survey: Survey) -> bool:
    every = [labels for _, labels in survey.labelled_masks()]
    values = frozenset().union(*every)
    return IGNORE in values and values <= {BACKGROUND, IGNORE}


def _tables(survey: Survey) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For the M images with label masks: tags (M, F) and labels present (M, 256)."""
    masks = list(survey.labelled_masks())
    tags = survey.files.tags[[index for index, _ in masks]]
    has = np.zeros((len(masks), 256), dtype=np.bool_)
    for row, (_, labels) in enumerate(masks):
        has[row, sorted(labels)] = True
    return tags, has


def _agreement(tags: NDArray[np.bool_], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union of every tag with every label, over images.

    Args:
        tags: (M, F) bool.
        present: (M, L) bool.

    Returns:
        (F, L), in [0, 1]; 0 where neither occurs.
    """
    both = tags.T.astype(np.int64) @ present.astype(np.int64)
    either = tags.sum(0)[:, None] + present.sum(0)[None, :] - both
    agreement: NDArray[np.float64] = both / np.maximum(either, 1)
    return agreement


def _shift(survey: Survey) -> int:
    """-1 or 1 if all labels are shifted by that, else 0."""
    tags, has = _tables(survey)
    count = tags.shape[1]
    if len(tags) < ENOUGH_IMAGES or not has[:, 1:IGNORE].any() or count > IGNORE - 2:
        return 0
    agree = {}
    for shift in (0, -1, 1):
        present = has[:, 1 + shift : 1 + shift + count]
        agree[shift] = (tags & present).sum() / max((tags | present).sum(), 1)
    best = max(agree, key=lambda shift: agree[shift])
    return best if agree[best] > OTHER_AGREES and agree[0] < OWN_AGREES else 0


CHECKS = (
    Check(
        kind=Kind(
            name="mask-unreadable",
            severity="breaks",
            what="masks that do not decode",
            fix="copy or generate them again",
        ),
        find=unreadable,
    ),
    Check(
        kind=Kind(
            name="mask-colours",
            severity="breaks",
            what="masks that are pictures (colours, 1 or 16 bits) instead of label indices",
            fix="save labels as a palette or 8-bit grey PNG: 0 background, c + 1 class c, 255 void",
        ),
        find=coloured,
    ),
    Check(
        kind=Kind(
            name="mask-lossy",
            severity="breaks",
            what="masks in a lossy format, which changes labels a little all over",
            fix="use the original masks; save them as palette or 8-bit grey PNG",
        ),
        find=lossy,
    ),
    Check(
        kind=Kind(
            name="mask-size",
            severity="breaks",
            what="masks of another size than their image",
            fix="resize the mask (nearest neighbour), or turn it as EXIF turns the image",
        ),
        find=misfit,
    ),
    Check(
        kind=Kind(
            name="mask-labels",
            severity="breaks",
            what="masks with labels that no class has",
            fix="list all classes in label order (--classes), or renumber to 0..F and 255",
        ),
        find=out_of_range,
    ),
    Check(
        kind=Kind(
            name="mask-binary",
            severity="biases",
            what="masks of 0 and 255 only: 255 is void, so no pixel has a class",
            fix="write the class's label (1 for the first class) instead of 255",
        ),
        find=binary,
    ),
    Check(
        kind=Kind(
            name="mask-shifted",
            severity="biases",
            what="labels that are off by one against the tags",
            fix="0 is background and class c (from 0) is c + 1: shift the labels or the class list",
        ),
        find=shifted,
    ),
    Check(
        kind=Kind(
            name="mask-class-order",
            severity="biases",
            what="classes whose tag goes with another class's label",
            fix="give the classes in the order of the masks' labels (--classes)",
        ),
        find=reordered,
    ),
    Check(
        kind=Kind(
            name="mask-against-tags",
            severity="biases",
            what="many images whose mask has other classes than their tags",
            fix="compare tags and masks: they may be of different versions",
        ),
        find=disagreeing_often,
    ),
    Check(
        kind=Kind(
            name="mask-unlike-tags",
            severity="note",
            what="a few images whose mask has other classes than their tags",
            fix="none needed; objects too small to segment do this, and COCO's crowds (void)",
        ),
        find=disagreeing_rarely,
    ),
)
