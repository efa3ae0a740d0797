"""Checks of annotated masks: sizes, values, and agreement of labels with tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weakclip.data.check.finding import biases, breaks, note
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


@breaks(
    "mask-unreadable",
    "masks that do not decode",
    "copy or generate them again",
)
def _unreadable(survey: Survey) -> Iterator[str]:
    return (facts.reason for facts in survey.masks if isinstance(facts, BadImage))


@breaks(
    "mask-colours",
    "masks that are pictures (colours, 1 or 16 bits) instead of label indices",
    "save labels as a palette or 8-bit grey PNG: 0 background, c + 1 class c, 255 void",
)
def _coloured(survey: Survey) -> Iterator[str]:
    for index, facts in survey.decoded_masks():
        if facts.labels is None and not facts.lossy:
            yield f"{survey.files.names[index]}: {facts.kind}"


@breaks(
    "mask-lossy",
    "masks in a lossy format, which changes labels a little all over",
    "use the original masks; save them as palette or 8-bit grey PNG",
)
def _lossy(survey: Survey) -> Iterator[str]:
    for index, facts in survey.decoded_masks():
        if facts.lossy:
            yield f"{survey.files.names[index]}: {facts.kind}"


@breaks(
    "mask-size",
    "masks of another size than their image",
    "resize the mask (nearest neighbour), or turn it as EXIF turns the image",
)
def _misfit(survey: Survey) -> Iterator[str]:
    for index, facts in survey.decoded_masks():
        image = survey.images[index]
        if isinstance(image, ImageFacts) and image.size != facts.size:
            turned = ", as the image before EXIF turns it" if _turned(image, facts.size) else ""
            name = survey.files.names[index]
            yield f"{name}: image (H, W) {image.size}, mask {facts.size}{turned}"


@breaks(
    "mask-labels",
    "masks with labels that no class has",
    "list all classes in label order (--classes), or renumber to 0..F and 255",
)
def _out_of_range(survey: Survey) -> Iterator[str]:
    if _is_binary(survey):
        return
    last = len(survey.files.classes)
    for index, labels in survey.labelled_masks():
        unknown = sorted(label for label in labels if last < label < IGNORE)
        if unknown:
            yield f"{survey.files.names[index]}: label {unknown[0]} of 0 to {last}"


@biases(
    "mask-binary",
    "masks of 0 and 255 only: 255 is void, so no pixel has a class",
    "write the class's label (1 for the first class) instead of 255",
)
def _binary(survey: Survey) -> Iterator[str]:
    if _is_binary(survey):
        yield from (survey.files.names[index] for index, _ in survey.labelled_masks())


@biases(
    "mask-shifted",
    "labels that are off by one against the tags",
    "0 is background and class c (from 0) is c + 1: shift the labels or the class list",
)
def _shifted(survey: Survey) -> Iterator[str]:
    """The shift of all labels, if the labels agree with the tags only after a shift by one."""
    shift = _shift(survey)
    if shift:
        yield f"tag of class c goes with label c + 1 {shift:+d} (classes counted from 0)"


@biases(
    "mask-class-order",
    "classes whose tag goes with another class's label",
    "give the classes in the order of the masks' labels (--classes)",
)
def _reordered(survey: Survey) -> Iterator[str]:
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


@biases(
    "mask-against-tags",
    "many images whose mask has other classes than their tags",
    "compare tags and masks: they may be of different versions",
)
def _disagreeing_often(survey: Survey) -> Iterator[str]:
    found = _disagreeing(survey)
    often = len(found) > MANY * sum(1 for _ in survey.labelled_masks())
    return iter(found if often else ())


@note(
    "mask-unlike-tags",
    "a few images whose mask has other classes than their tags",
    "none needed; objects too small to segment do this, and COCO's crowds (void)",
)
def _disagreeing_rarely(survey: Survey) -> Iterator[str]:
    return iter(() if any(_disagreeing_often.find(survey)) else _disagreeing(survey))


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
    """Intersection over union of tags (M, F) and labels (M, L) over images, (F, L); else 0."""
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
    _unreadable, _coloured, _lossy, _misfit, _out_of_range, _binary, _shifted, _reordered,
    _disagreeing_often, _disagreeing_rarely,
)  # fmt: skip
