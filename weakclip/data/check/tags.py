"""Checks of tags: vocabulary and length, classes without images, images without tags."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from weakclip.data.check.finding import biases, breaks, note, of_one_key
from weakclip.labels import MOST_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weakclip.data.check.survey import Survey

PROMPT = "a photo of a {}."
"""The longest prompt that every method makes of each tag."""


@breaks(
    "classes-too-many",
    f"more classes than the {MOST_CLASSES} labels of a mask",
    "leave out rare classes, or make masks of groups of classes one after the other",
)
def _too_many(survey: Survey) -> Iterator[str]:
    count = len(survey.files.classes)
    if count > MOST_CLASSES:
        yield f"{count} classes; the last are {', '.join(survey.files.classes[-3:])}"


@breaks(
    "tag-unknown",
    "tags with words that this CLIP's vocabulary lacks",
    "use another word, or a CLIP with the full vocabulary",
)
def _unknown(survey: Survey) -> Iterator[str]:
    return (name for name in survey.files.classes if not survey.words.knows(name))


@breaks(
    "tag-too-long",
    "tags longer than CLIP's context",
    "use a short noun phrase",
)
def _too_long(survey: Survey) -> Iterator[str]:
    return (name for name in survey.files.classes if not survey.words.fits(PROMPT.format(name)))


@biases(
    "tag-foreign",
    "tags without letters or not in ASCII: CLIP has hardly seen such words",
    "use the English noun, e.g. with a file of synonyms",
)
def _foreign(survey: Survey) -> Iterator[str]:
    return (
        name
        for name in survey.files.classes
        if not name.isascii() or not any(letter.isalpha() for letter in name)
    )


def plain(name: str) -> str:
    """A tag in lower case and normal Unicode form, without blanks, hyphens and underscores."""
    letters = unicodedata.normalize("NFKC", name).casefold()
    return "".join(one for one in letters if one.isprintable() and one not in " _-")


@biases(
    "tags-alike",
    "tags that differ in case, blanks, hyphens or Unicode form only: one class counted as several",
    "write them in one way",
)
def _alike(survey: Survey) -> Iterator[str]:
    letters = ("".join(filter(str.isalnum, plain(name))) for name in survey.files.classes)
    pairs = zip(letters, survey.files.classes, strict=True)
    return of_one_key((key or name, name) for key, name in pairs)


@note(
    "class-without-images",
    "classes that no image has; they are not scored",
    "none needed; remove them from the classes if they are mistakes",
)
def _classes_without_images(survey: Survey) -> Iterator[str]:
    pairs = zip(survey.files.classes, survey.files.tags.T, strict=True)
    return (name for name, images in pairs if not images.any())


@note(
    "image-without-tags",
    "images without tags; no class can be found in them",
    "tag them, or leave them out",
)
def _images_without_tags(survey: Survey) -> Iterator[str]:
    pairs = zip(survey.files.names, survey.files.tags, strict=True)
    return (name for name, tags in pairs if not tags.any())


CHECKS = (
    _too_many, _unknown, _too_long, _foreign, _alike, _classes_without_images,
    _images_without_tags,
)  # fmt: skip
