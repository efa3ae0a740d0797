"""Checks of mask files: whether every image has a mask, and every mask an image."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.check.finding import biases, breaks, note, of_one_key
from weakclip.data.formats.masks import MASK_SUFFIXES
from weakclip.data.read.images import image_names, walk
from weakclip.data.read.mask_names import find_masks, mask_files
from weakclip.data.read.names import meant_names, without_suffix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from weakclip.data.check.survey import Survey


@breaks(
    "masks-unmatched",
    "a folder of masks of which none belongs to an image",
    "call masks as their images (a/b.png for a/b.jpg), or give the right folder",
)
def _unmatched(survey: Survey) -> Iterator[str]:
    folder = survey.files.mask_root
    if folder is None or any(facts is not None for facts in survey.masks):
        return
    files = mask_files(folder)
    near = _beginning(files, survey.files.names) | meant_names(files, survey.files.names)
    for one in files:
        hint = f"; is it that of {near[one]!r}?" if one in near else ""
        yield f"{folder.name}/{one}: no image of that name{hint}"
    if not files:
        suffixes = Counter(path.suffix or path.name for path in walk(folder))
        held = ", ".join(f"{count} x {suffix}" for suffix, count in suffixes.most_common(4))
        known = ", ".join(MASK_SUFFIXES[:2])
        yield f"{folder.name}: expected masks ({known}, ...), found {held or 'nothing'}"


@biases(
    "mask-missing",
    "images without a mask while others have one: scores leave them out",
    "add the masks, or check the splits one by one",
)
def _missing(survey: Survey) -> Iterator[str]:
    if all(facts is None for facts in survey.masks):
        return
    near = find_masks(survey.files.mask_root, survey.files.names).near
    for name, facts in zip(survey.files.names, survey.masks, strict=True):
        if facts is None:
            yield f"{name}: is {near[name]!r} its mask?" if name in near else name


@biases(
    "mask-shared",
    "images whose names differ in the suffix only and so have one mask",
    "rename one of each group, and its mask",
)
def _shared(survey: Survey) -> Iterator[str]:
    pairs = zip(survey.files.masks, survey.files.names, strict=True)
    return of_one_key((mask, name) for mask, name in pairs if mask is not None)


@note(
    "mask-orphaned",
    "masks without an image",
    "copy the images, or remove the masks; names must agree but for the suffix",
)
def _orphaned(survey: Survey) -> Iterator[str]:
    """Files in the mask folders that belong to no image on disk."""
    files = survey.files
    used = {path for path in files.masks if path is not None}
    if not used:
        return
    on_disk = image_names(files.root, skip=(files.mask_root,) if files.mask_root else ())
    if files.mask_root is None:  # VOC: masks are named by ids
        stems = {PurePosixPath(name).stem for name in (*on_disk, *files.names)}
        folders = {path.parent for path in used}
        masks = sorted(path for folder in folders for path in folder.glob("*.png"))
        yield from (f"{path.parent.name}/{path.name}" for path in masks if path.stem not in stems)
        return
    used.update(filter(None, find_masks(files.mask_root, on_disk).paths))
    found = sorted(files.mask_root / name for name in mask_files(files.mask_root))
    for path in found:
        if path not in used:
            yield (files.mask_root.name / path.relative_to(files.mask_root)).as_posix()


def _beginning(files: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Images with whose name a mask's name begins, before a separator: `a_0.png` and `a.jpg`."""
    image_of = {without_suffix(name): name for name in names}
    return {
        one: image_of[one[: sign.start()]]
        for one in files
        for sign in re.finditer(r"[\W_]", one)
        if one[: sign.start()] in image_of
    }


CHECKS = (_unmatched, _missing, _shared, _orphaned)
