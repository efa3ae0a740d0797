"""Checks of image files: whether they decode, their properties, and collisions of mask names."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.check.finding import Check, Kind
from weakclip.data.read.names import did_you_mean, name_key, without_suffix
from weakclip.data.read.tagged import BadImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from weakclip.data.check.survey import Survey
    from weakclip.data.read.images import ImageFacts


def lines_unusable(survey: Survey) -> Iterator[str]:
    """Lines of the list, and annotations, that name nothing usable."""
    return (f"{problem.name}: {problem.reason}" for problem in survey.files.problems)


def read_as(survey: Survey) -> Iterator[str]:
    """How tables and folders of an unusual form were interpreted."""
    return iter(survey.files.reading)


def missing(survey: Survey) -> Iterator[str]:
    """Listed images that do not exist."""
    for bad in _bad(survey):
        if not _exists(survey, bad.name):
            meant = survey.files.meant.get(bad.name)
            yield f"{bad.name}: {did_you_mean(bad.name, meant)}" if meant else bad.name


def left_out(survey: Survey) -> Iterator[str]:
    """Pictures that are not listed as images."""
    return (f"{bad.name}: {bad.reason}" for bad in survey.files.left_out)


def unreadable(survey: Survey) -> Iterator[str]:
    """Existing images that do not decode."""
    return (f"{bad.name}: {bad.reason}" for bad in _bad(survey) if _exists(survey, bad.name))


def one_output(survey: Survey) -> Iterator[str]:
    """Images of one folder whose masks would have the same name, at least on some file systems."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in survey.files.names:
        if _exists(survey, name):
            groups[name_key(without_suffix(name))].append(name)
    return (" = ".join(names) for names in groups.values() if len(names) > 1)


def one_name(survey: Survey) -> Iterator[str]:
    """Images with the same file name in different folders."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in survey.files.names:
        groups[PurePosixPath(name).name].append(name)
    return (" = ".join(names) for names in groups.values() if len(names) > 1)


def _fact(holds: Callable[[ImageFacts], bool]) -> Callable[[Survey], Iterator[str]]:
    """A check that lists the decoded images with a property."""
    return lambda survey: (name for name, facts in survey.decoded_images() if holds(facts))


def _bad(survey: Survey) -> Iterator[BadImage]:
    return (facts for facts in survey.images if isinstance(facts, BadImage))


def _exists(survey: Survey, name: str) -> bool:
    return os.path.lexists(survey.files.root / name)


CHECKS = (
    Check(
        kind=Kind(
            name="line-unusable",
            severity="breaks",
            what="lines or annotations that cannot be used",
            fix="correct the line, or remove it",
        ),
        find=lines_unusable,
    ),
    Check(
        kind=Kind(
            name="read-as",
            severity="note",
            what="a table or a folder of masks of another form than the usual one",
            fix="none needed if it was understood as it is meant",
        ),
        find=read_as,
    ),
    Check(
        kind=Kind(
            name="image-missing",
            severity="breaks",
            what="images that are listed and not there",
            fix="write their names as they are on disk, copy them, or remove their lines",
        ),
        find=missing,
    ),
    Check(
        kind=Kind(
            name="image-unreadable",
            severity="breaks",
            what="images that do not decode, or are of a kind that is not read",
            fix="do what each line says; where it says nothing, remove them",
        ),
        find=unreadable,
    ),
    Check(
        kind=Kind(
            name="image-left-out",
            severity="breaks",
            what="pictures that are not listed as images: they get no mask",
            fix="do what each line says, or remove them",
        ),
        find=left_out,
    ),
    Check(
        kind=Kind(
            name="one-output",
            severity="note",
            what="images that differ in suffix, case or Unicode form only; their new masks have "
            "longer names (a.jpg.png)",
            fix="none needed; rename one of each group if a program expects a.png",
        ),
        find=one_output,
    ),
    Check(
        kind=Kind(
            name="one-name",
            severity="note",
            what="images of one file name in different folders",
            fix="none needed while the folders are kept; do not flatten them",
        ),
        find=one_name,
    ),
    Check(
        kind=Kind(
            name="exif-rotated",
            severity="note",
            what="images that EXIF turns or mirrors; they are read upright",
            fix="none needed; masks must fit the upright image",
        ),
        find=_fact(lambda facts: facts.rotated),
    ),
    Check(
        kind=Kind(
            name="image-grey",
            severity="note",
            what="grey images; read as equal red, green and blue",
            fix="none needed; CLIP has seen mostly colour photographs",
        ),
        find=_fact(lambda facts: facts.mode in ("1", "L", "LA", "La") or facts.mode[0] == "I"),
    ),
    Check(
        kind=Kind(
            name="image-cmyk",
            severity="note",
            what="CMYK images; converted without their colour profile",
            fix="convert them to sRGB if the colours matter",
        ),
        find=_fact(lambda facts: facts.mode == "CMYK"),
    ),
    Check(
        kind=Kind(
            name="image-alpha",
            severity="note",
            what="images with transparency; read as seen on white",
            fix="put them on the background that you want, if white is wrong",
        ),
        find=_fact(lambda facts: facts.alpha),
    ),
    Check(
        kind=Kind(
            name="image-16-bit",
            severity="note",
            what="images with more than 8 bits; scaled to 8 (65535 becomes 255)",
            fix="stretch the contrast before, if they use a part of the range only",
        ),
        find=_fact(lambda facts: facts.deep),
    ),
)
