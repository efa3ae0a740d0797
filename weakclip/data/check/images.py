"""Checks of image files: do they decode, are they what they seem, will their masks collide."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.check.finding import Check, Kind
from weakclip.data.read.tagged import BadImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from weakclip.data.check.survey import Survey
    from weakclip.data.read.images import ImageFacts


def lines_unusable(survey: Survey) -> Iterator[str]:
    """Lines of the list and annotations that name nothing usable."""
    return (f"{problem.name}: {problem.reason}" for problem in survey.files.problems)


def missing(survey: Survey) -> Iterator[str]:
    """Listed images that are not there."""
    return (bad.name for bad in _bad(survey) if not _exists(survey, bad.name))


def unreadable(survey: Survey) -> Iterator[str]:
    """Images that are there and do not decode."""
    return (f"{bad.name}: {bad.reason}" for bad in _bad(survey) if _exists(survey, bad.name))


def one_output(survey: Survey) -> Iterator[str]:
    """Images of one folder that differ in their suffix only; `weakclip masks` then keeps it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in survey.files.names:
        groups[str(PurePosixPath(name).with_suffix(""))].append(name)
    return (" = ".join(names) for names in groups.values() if len(names) > 1)


def one_name(survey: Survey) -> Iterator[str]:
    """Images of different folders with one file name."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in survey.files.names:
        groups[PurePosixPath(name).name].append(name)
    return (" = ".join(names) for names in groups.values() if len(names) > 1)


def _fact(holds: Callable[[ImageFacts], bool]) -> Callable[[Survey], Iterator[str]]:
    """A check: the decoded images of which something holds."""
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
            name="image-missing",
            severity="breaks",
            what="images that are listed and not there",
            fix="copy them, or remove their lines",
        ),
        find=missing,
    ),
    Check(
        kind=Kind(
            name="image-unreadable",
            severity="breaks",
            what="images that do not decode",
            fix="copy them again, or remove them",
        ),
        find=unreadable,
    ),
    Check(
        kind=Kind(
            name="one-output",
            severity="note",
            what="images that differ in their suffix only; their new masks keep it (a.jpg.png)",
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
