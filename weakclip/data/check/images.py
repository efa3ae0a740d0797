"""Checks of image files: whether they decode, their properties, and collisions of mask names."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.check.finding import breaks, note, of_one_key
from weakclip.data.read.names import did_you_mean, name_key, without_suffix
from weakclip.data.read.tagged import BadImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from weakclip.data.check.survey import Survey
    from weakclip.data.read.images import ImageFacts


@breaks(
    "line-unusable",
    "lines or annotations that cannot be used",
    "correct the line, or remove it",
)
def _lines_unusable(survey: Survey) -> Iterator[str]:
    return map(str, survey.files.problems)


@note(
    "read-as",
    "a table or a folder of masks of another form than the usual one",
    "none needed if it was understood as it is meant",
)
def _read_as(survey: Survey) -> Iterator[str]:
    return iter(survey.files.reading)


@breaks(
    "image-missing",
    "images that are listed and not there",
    "write their names as they are on disk, copy them, or remove their lines",
)
def _missing(survey: Survey) -> Iterator[str]:
    for bad in _bad(survey):
        if not _exists(survey, bad.name):
            meant = survey.files.meant.get(bad.name)
            yield f"{bad.name}: {did_you_mean(bad.name, meant)}" if meant else bad.name


@breaks(
    "image-left-out",
    "pictures that are not listed as images: they get no mask",
    "do what each line says, or remove them",
)
def _left_out(survey: Survey) -> Iterator[str]:
    return map(str, survey.files.left_out)


@breaks(
    "image-unreadable",
    "images that do not decode, or are of a kind that is not read",
    "do what each line says; where it says nothing, remove them",
)
def _unreadable(survey: Survey) -> Iterator[str]:
    return (str(bad) for bad in _bad(survey) if _exists(survey, bad.name))


@note(
    "one-output",
    "images that differ in suffix, case or Unicode form only; their new masks have "
    "longer names (a.jpg.png)",
    "none needed; rename one of each group if a program expects a.png",
)
def _one_output(survey: Survey) -> Iterator[str]:
    names = (name for name in survey.files.names if _exists(survey, name))
    return of_one_key((name_key(without_suffix(name)), name) for name in names)


@note(
    "one-name",
    "images of one file name in different folders",
    "none needed while the folders are kept; do not flatten them",
)
def _one_name(survey: Survey) -> Iterator[str]:
    return of_one_key((PurePosixPath(name).name, name) for name in survey.files.names)


def _fact(holds: Callable[[ImageFacts], bool]) -> Callable[[Survey], Iterator[str]]:
    """A check that lists the decoded images with a property."""
    return lambda survey: (name for name, facts in survey.decoded_images() if holds(facts))


def _bad(survey: Survey) -> Iterator[BadImage]:
    return (facts for facts in survey.images if isinstance(facts, BadImage))


def _exists(survey: Survey, name: str) -> bool:
    return os.path.lexists(survey.files.root / name)


_exif_rotated = note(
    "exif-rotated",
    "images that EXIF turns or mirrors; they are read upright",
    "none needed; masks must fit the upright image",
)(_fact(lambda facts: facts.rotated))
_grey = note(
    "image-grey",
    "grey images; read as equal red, green and blue",
    "none needed; CLIP has seen mostly colour photographs",
)(_fact(lambda facts: facts.mode in ("1", "L", "LA", "La") or facts.mode[0] == "I"))
_cmyk = note(
    "image-cmyk",
    "CMYK images; converted without their colour profile",
    "convert them to sRGB if the colours matter",
)(_fact(lambda facts: facts.mode == "CMYK"))
_alpha = note(
    "image-alpha",
    "images with transparency; read as seen on white",
    "put them on the background that you want, if white is wrong",
)(_fact(lambda facts: facts.alpha))
_deep = note(
    "image-16-bit",
    "images with more than 8 bits; scaled to 8 (65535 becomes 255)",
    "stretch the contrast before, if they use a part of the range only",
)(_fact(lambda facts: facts.deep))


CHECKS = (
    _lines_unusable, _read_as, _missing, _unreadable, _left_out, _one_output, _one_name,
    _exif_rotated, _grey, _cmyk, _alpha, _deep,
)  # fmt: skip
