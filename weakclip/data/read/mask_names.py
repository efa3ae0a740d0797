"""Matching of mask files and images by name.

A mask has the path of its image with any suffix (`a/b.png`), or the full name of the image followed
by another suffix (`a/b.jpg.png`). If nothing matches, a common word at the beginning or end
(`b_mask.png`, `gt_b.png`) or a different folder is ignored, as long as all matches are unique. A
sub-folder of an image folder is a mask folder if it is named like one and its files are label
images that belong to images outside it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image

from weakclip.data.formats.masks import MASK_SUFFIXES
from weakclip.data.read.images import image_names, readable, walk
from weakclip.data.read.names import name_key, without_suffix

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

AFFIXES = frozenset({
    "mask", "masks", "gt", "truth", "groundtruth", "label", "labels", "lbl", "seg", "segm",
    "segmentation", "semantic", "sem", "annotation", "annotations", "annot", "anno", "labelids",
    "labeltrainids", "trainids", "gtfine", "gtcoarse", "target", "class", "classes", "image",
    "img", "im", "rgb", "sat", "photo", "leftimg8bit", "jpg", "jpeg", "png",
})  # fmt: skip
"""Words in names that describe the kind of file and do not identify the image."""
MASK_FOLDERS = frozenset({
    "annotation", "annotations", "gt", "groundtruth", "ground_truth", "label", "labels", "mask",
    "masks", "seg", "segmentation", "segmentationclass", "segmentationclassaug",
    "segmentationobject", "segmentations", "truth",
})  # fmt: skip
"""Names of mask folders, in lower case."""
_LOOKED_AT = 20
"""Number of files of such a folder that are inspected."""
_COLOUR = frozenset({"RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "F"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMasks:
    """The masks of N images."""

    paths: tuple[Path | None, ...]
    """For each image its mask, N; None where there is none."""
    near: dict[str, str]
    """For images without a mask, the file that may be meant: its path by that of the image."""
    reading: tuple[str, ...]
    """Description of the matching rule, if it is not the usual one; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A rule that reduces names to comparable forms; for images several, the best first."""

    what: str
    of_mask: Callable[[str], str]
    of_image: Callable[[str], tuple[str, ...]]


def find_masks(folder: Path | None, names: Sequence[str]) -> FoundMasks:
    """Find the masks of images, given by path, in a folder; without a folder there are none."""
    files = mask_files(folder)
    found = _matched(_RULES[0], files, names)
    rest = [name for name in names if name not in found]
    same = _matched(_RULES[1], [one for one in files if one not in set(found.values())], rest)
    what = _RULES[1].what if same else ""
    found |= same
    for loose in _RULES[2:]:
        if not found and (found := _matched(loose, files, names)):
            what = loose.what
    used = set(found.values())
    unused = [one for one in files if one not in used]
    rest = [name for name in names if name not in found]
    near = {
        name: one for loose in _RULES[:1:-1] for name, one in _matched(loose, unused, rest).items()
    }
    return FoundMasks(
        paths=tuple(folder / found[name] if folder and name in found else None for name in names),
        near=near,
        reading=(f"masks: found by {what}",) if what else (),
    )


def annotation_folders(root: Path) -> tuple[Path, ...]:
    """Sub-folders of an image folder that contain annotated masks of its images, sorted.

    At least nine in ten files of such a folder belong to an image outside it, and no inspected file
    is a colour picture. So a class called `masks` remains a class.
    """
    called = [
        path
        for path in sorted(root.iterdir())
        if path.is_dir() and path.name.lower() in MASK_FOLDERS
    ]
    if not called:
        return ()
    outside = {_base(without_suffix(name)) for name in image_names(root, skip=called)}
    return tuple(folder for folder in called if _holds_masks(folder, outside))


def _holds_masks(folder: Path, outside: Collection[str]) -> bool:
    files = mask_files(folder)
    known = sum(_base(without_suffix(name)) in outside for name in files)
    if not files or known < 0.9 * len(files):
        return False
    return not any(_is_colour(folder / name) for name in files[:_LOOKED_AT])


def _is_colour(path: Path) -> bool:
    """Whether a file is a colour picture; false if it cannot be opened."""
    try:
        with readable(path, "mask"), Image.open(path) as image:
            return image.mode in _COLOUR
    except ValueError:
        return False


def mask_files(folder: Path | None) -> list[str]:
    """Paths of the possible masks below a folder; preferred formats come first."""
    if folder is None:
        return []
    order = {suffix: rank for rank, suffix in enumerate(MASK_SUFFIXES)}
    paths = [path for path in walk(folder) if path.suffix.lower() in order and path.is_file()]
    paths.sort(key=lambda path: (order[path.suffix.lower()], path))
    return [path.relative_to(folder).as_posix() for path in paths]


def _matched(rule: _Rule, files: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Path of the mask by path of the image.

    All rules except the first omit ambiguous matches: a mask of two images, or an image of two
    masks.
    """
    masks: dict[str, list[str]] = defaultdict(list)
    for one in files:
        masks[rule.of_mask(one)].append(one)
    exact = rule is _RULES[0]
    found: dict[str, str] = {}
    for name in names:
        for form in rule.of_image(name):
            if form in masks and (exact or len(masks[form]) == 1):
                found[name] = masks[form][0]
                break
    users: dict[str, int] = defaultdict(int)
    for one in found.values():
        users[one] += 1
    return {name: one for name, one in found.items() if exact or users[one] == 1}


def _plain(name: str) -> str:
    """A path in lower case without the words in `AFFIXES` at the ends of its name.

    Example:
        >>> _plain("x/gt_A_mask"), _plain("a.jpg_Mask"), _plain("mask"), _plain("a (mask)")
        ('x/a', 'a', 'mask', 'a')
    """
    path = PurePosixPath(name_key(re.sub(r"(?<=[a-z0-9])(?=(Mask|Seg|Gt|GT|Label)s?$)", "_", name)))
    words = [word for word in re.split(r"[_.()\s-]+", path.name) if word]
    while len(words) > 1 and words[-1] in AFFIXES:
        words.pop()
    while len(words) > 1 and words[0] in AFFIXES:
        words.pop(0)
    return path.with_name("_".join(words) or path.name).as_posix()


def _base(name: str) -> str:
    return PurePosixPath(_plain(name)).name


_RULES = (
    _Rule(
        what="",
        of_mask=without_suffix,
        of_image=lambda name: (name, without_suffix(name)),
    ),
    _Rule(
        what="names that differ in case or Unicode form",
        of_mask=lambda name: name_key(without_suffix(name)),
        of_image=lambda name: (name_key(name), name_key(without_suffix(name))),
    ),
    _Rule(
        what="names without words such as _mask or _gt",
        of_mask=lambda name: _plain(without_suffix(name)),
        of_image=lambda name: (_plain(without_suffix(name)),),
    ),
    _Rule(
        what="names in other folders",
        of_mask=lambda name: _base(without_suffix(name)),
        of_image=lambda name: (_base(without_suffix(name)),),
    ),
)
"""Matching rules, the strictest first."""
