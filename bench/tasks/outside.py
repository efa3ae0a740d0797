"""Rows for masks or maps made outside this project, checked before anything is run.

They are scored by the same code, on the same images and with the same intervals as all other rows.
The hash of their files is part of the configuration, so a row changes when its files do.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.studies.study import Variant
from bench.tasks.identity import Digests
from weakclip.data.formats.ids import NamedFiles
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.images import image_size, seen_size
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from bench.studies.method import Outside
    from weakclip.data.read.tagged import TaggedFiles


class Misfit(ValueError):  # noqa: N818 (mostly a value)
    """The reason why a mask cannot be scored: a kind of problem, and the image."""

    def __init__(self, kind: str, where: str) -> None:
        super().__init__(f"{where}: {kind}")
        self.kind, self.where = kind, where


def outside_rows(
    given: Mapping[str, Outside], splits: Mapping[str, TaggedFiles], artifacts: Path
) -> tuple[Variant, ...]:
    """Rows of a study for folders of masks or maps, by name; the hash of their files is filled in.

    Masks are needed for all images of `pseudo`, maps for the tagged images of `train`.

    Raises:
        BenchError: If a file is missing, has another size than its image, or labels that are no
            class; the message has the number of such files and the first of each kind.
    """
    digests = Digests(artifacts)
    rows = []
    for name, outside in given.items():
        try:
            check = _masks if outside.what == "masks" else _maps
            config = replace(outside, sha256=check(outside, splits, digests)).row
            rows.append(Variant(name=name, config=config, paper=config))
        except (OSError, ValueError) as error:
            flag = f"--row-{outside.what} {name}={outside.folder}"
            raise BenchError(f"{flag}: {error}") from error
    digests.save()
    return tuple(rows)


def masks_in(folder: Path) -> NamedFiles:
    """The masks of a folder, PNG files found by image name; errors as of `NamedFiles.of`."""
    return NamedFiles.of(folder, (".png",))


def mask_of(masks: NamedFiles, files: TaggedFiles, index: int) -> NDArray[np.uint8]:
    """The mask of an image, (H, W), with the size of its annotation.

    Raises:
        Misfit: If it is missing or cannot be read, or its size or labels are wrong.
    """
    name, truth = files.names[index], files.masks[index]
    try:
        path = masks.find(name)
        if path is None:
            raise Misfit("without a mask", name)
        mask = read_mask(path)
    except Misfit:
        raise
    except ValueError as error:
        raise Misfit("with one that cannot be read", str(error)) from error
    if truth is not None:
        fitting(mask, name, image_size(truth), len(files.classes))
    return mask


def fitting(mask: NDArray[np.uint8], name: str, size: tuple[int, int], classes: int) -> None:
    """Check that a mask, (H, W), has the size of its image and only labels of F classes.

    Raises:
        Misfit: If the size differs, or a label is neither a class nor 255.
    """
    if mask.shape != size:
        raise Misfit("with one of another size", f"{name} {mask.shape} instead of {size}")
    beyond = mask[(mask > classes) & (mask != IGNORE)]
    if beyond.size:
        raise Misfit("with labels beyond the classes", f"{name} {beyond[0]} of 0 to {classes}")


def _masks(outside: Outside, splits: Mapping[str, TaggedFiles], digests: Digests) -> str:
    """Hash of the masks of `pseudo`; a `ValueError` if one cannot be scored."""
    files, masks = splits["pseudo"], masks_in(outside.folder)
    wrong: dict[str, list[str]] = defaultdict(list)
    for index in range(len(files)):
        try:
            mask_of(masks, files, index)
        except Misfit as misfit:
            wrong[misfit.kind].append(misfit.where)
    if wrong:
        lines = [f"{len(where)} {kind}, first {where[0]}" for kind, where in wrong.items()]
        raise ValueError(
            f"of {len(files)} images whose masks are scored, {'; '.join(lines)}. Expected a PNG of "
            "labels for each, of its image's size: 0 background, c + 1 class c, 255 undecided"
        )
    return _hash(masks, files.names, digests)


def _maps(outside: Outside, splits: Mapping[str, TaggedFiles], digests: Digests) -> str:
    """Hash of the maps of `train`; a `ValueError` if maps are missing or not valid."""
    files = splits["train"]
    sizes = [seen_size(files.path(index))[1] for index in range(len(files))]
    found = outside.maps.check(files.names, files.image_labels, sizes)
    lines = [
        f"{len(each.affected)} {each.kind.what}, first {each.affected[0]} ({each.kind.fix})"
        for each in found
        if each.kind.severity == "breaks"
    ]
    if lines:
        raise ValueError(f"of {len(files)} images that are trained on, {'; '.join(lines)}")
    return _hash(outside.maps.files(), files.names, digests)


def _hash(files: NamedFiles, names: Sequence[str], digests: Digests) -> str:
    """SHA-256 of the names of images and the bytes of their files."""
    found = hashlib.sha256()
    for name in names:
        path = files.find(name)
        digest = "" if path is None else digests.of(path)
        found.update(f"{name}\0{digest}\n".encode(errors="surrogatepass"))
    return found.hexdigest()
