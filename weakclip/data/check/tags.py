"""Checks of tags: vocabulary and length, classes without images, images without tags."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

from weakclip.data.check.finding import Check, Kind
from weakclip.labels import MOST_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weakclip.data.check.survey import Survey

PROMPT = "a photo of a {}."
"""The longest prompt that every method makes of each tag."""


def too_many(survey: Survey) -> Iterator[str]:
    """The number of classes, if it exceeds the labels of a mask."""
    count = len(survey.files.classes)
    if count > MOST_CLASSES:
        yield f"{count} classes; the last are {', '.join(survey.files.classes[-3:])}"


def unknown(survey: Survey) -> Iterator[str]:
    """Tags with a word outside the CLIP's vocabulary."""
    return (name for name in survey.files.classes if not survey.words.knows(name))


def too_long(survey: Survey) -> Iterator[str]:
    """Tags that do not fit into CLIP's context together with a prompt."""
    return (name for name in survey.files.classes if not survey.words.fits(PROMPT.format(name)))


def foreign(survey: Survey) -> Iterator[str]:
    """Tags that are not ASCII, or contain no letter."""
    return (
        name
        for name in survey.files.classes
        if not name.isascii() or not any(letter.isalpha() for letter in name)
    )


def plain(name: str) -> str:
    """A tag in lower case and normal Unicode form, without blanks, hyphens and underscores."""
    letters = unicodedata.normalize("NFKC", name).casefold()
    return "".join(one for one in letters if one.isprintable() and one not in " _-")


def alike(survey: Survey) -> Iterator[str]:
    """Groups of tags that differ only in case, blanks, punctuation or Unicode form."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in survey.files.classes:
        letters = "".join(one for one in plain(name) if one.isalnum())
        groups[letters or name].append(name)
    return (" = ".join(names) for names in groups.values() if len(names) > 1)


def classes_without_images(survey: Survey) -> Iterator[str]:
    """Classes without an image."""
    pairs = zip(survey.files.classes, survey.files.tags.T, strict=True)
    return (name for name, images in pairs if not images.any())


def images_without_tags(survey: Survey) -> Iterator[str]:
    """Images without a tag."""
    pairs = zip(survey.files.names, survey.files.tags, strict=True)
    return (name for name, tags in pairs if not tags.any())


CHECKS = (
    Check(
        kind=Kind(
            name="classes-too-many",
            severity="breaks",
            what=f"more classes than the {MOST_CLASSES} labels of a mask",
            fix="leave out rare classes, or make masks of groups of classes one after the other",
        ),
        find=too_many,
    ),
    Check(
        kind=Kind(
            name="tag-unknown",
            severity="breaks",
            what="tags with words that this CLIP's vocabulary lacks",
            fix="use another word, or a CLIP with the full vocabulary",
        ),
        find=unknown,
    ),
    Check(
        kind=Kind(
            name="tag-too-long",
            severity="breaks",
            what="tags longer than CLIP's context",
            fix="use a short noun phrase",
        ),
        find=too_long,
    ),
    Check(
        kind=Kind(
            name="tag-foreign",
            severity="biases",
            what="tags without letters or not in ASCII: CLIP has hardly seen such words",
            fix="use the English noun, e.g. with a file of synonyms",
        ),
        find=foreign,
    ),
    Check(
        kind=Kind(
            name="tags-alike",
            severity="biases",
            what="tags that differ in case, blanks, hyphens or Unicode form only: one class "
            "counted as several",
            fix="write them in one way",
        ),
        find=alike,
    ),
    Check(
        kind=Kind(
            name="class-without-images",
            severity="note",
            what="classes that no image has; they are not scored",
            fix="none needed; remove them from the classes if they are mistakes",
        ),
        find=classes_without_images,
    ),
    Check(
        kind=Kind(
            name="image-without-tags",
            severity="note",
            what="images without tags; no class can be found in them",
            fix="tag them, or leave them out",
        ),
        find=images_without_tags,
    ),
)
