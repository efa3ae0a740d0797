"""Pictures in a folder that are not listed as images, so that they can be reported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.data.read.images import walk
from weakclip.data.read.names import name_key, without_suffix
from weakclip.data.read.signatures import IMAGE_SUFFIXES, TEXT_SUFFIXES, sniff
from weakclip.data.read.tagged import BadImage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def left_out(
    root: Path, names: Collection[str], *, skip: Collection[Path] = ()
) -> tuple[BadImage, ...]:
    """Pictures below a folder, but not in `skip`, that are not among `names`, and why.

    A raw file next to the image that the camera made of it is not reported.
    """
    listed = {name_key(name) for name in names}
    stems = {name_key(without_suffix(name)) for name in names}
    found = [
        BadImage(name, reason)
        for path, reason in (*_other_files(root, skip), *_linked_folders(root, skip))
        if name_key(name := path.relative_to(root).as_posix()) not in listed
        and not (path.suffix and name_key(without_suffix(name)) in stems)
    ]
    return tuple(sorted(found, key=lambda bad: bad.name))


def _other_files(root: Path, skip: Collection[Path]) -> Iterator[tuple[Path, str]]:
    """Pictures with an unknown suffix, or of a kind that is not supported."""
    for path in walk(root, skip=skip):
        if path.name.lower().endswith((*IMAGE_SUFFIXES, *TEXT_SUFFIXES)):
            continue
        kind = sniff(path)
        if kind is not None and kind.picture:
            advice = kind.advise(path.name) or "give it a name that ends in its suffix, e.g. .jpg"
            yield path, f"is {kind.name} that is not listed; {advice}"


def _linked_folders(root: Path, skip: Collection[Path]) -> Iterator[tuple[Path, str]]:
    """Links to folders elsewhere, which are not followed."""
    top, left_out = root.resolve(), {path.resolve() for path in skip}
    for folder, folders, _ in os.walk(root):
        for path in (Path(folder) / name for name in folders if not name.startswith(".")):
            if not path.is_symlink() or (there := path.resolve()) in left_out:
                continue
            if not there.is_relative_to(top) and not top.is_relative_to(there):
                yield path, "is a link to a folder, which is not followed; copy the folder"
