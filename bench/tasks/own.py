"""A user's own images as a data set: a folder with tags, and masks of some of its images.

Without lists of splits, the splits follow from the files:

    val      the images of a list (`--val`); without a list, the images with a mask and no tag; if
             there are none, every second image with a mask, in the order of name hashes
    train    all other images with a tag
    pseudo   the images of train with a mask

So masks are used for scoring only, and no image of val is trained on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.tasks.outside import Misfit, fitting
from weakclip.data.formats.ids import image_key, read_ids
from weakclip.data.read.folder import list_folder
from weakclip.data.read.images import seen_size
from weakclip.data.read.layouts import read_classes
from weakclip.data.read.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from weakclip.data.read.tagged import TaggedFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnImages:
    """The files and folders of a user's own data set."""

    root: Path
    """Folder of the images."""
    tags: Path | None = None
    """File of tags; by default `labels.csv` in `root`, or else its sub-folders are the tags."""
    masks: Path | None = None
    """Folder of annotated masks."""
    classes: Path | None = None
    """Class names in the order of their labels, one a line; by default the tags, sorted."""
    val: Path | None = None
    """List of the images that are not trained on."""

    def splits(self) -> dict[str, TaggedFiles]:
        """The images by role: train, pseudo and val.

        Raises:
            BenchError: If a listed image is missing, a mask does not fit its image or the classes,
                or a role has no image.
            FileNotFoundError: If a file or a folder is missing.
            ValueError: If a file is malformed.
        """
        if self.masks is None:
            raise BenchError(
                "own images: expected --masks, a folder of annotated masks of some of them: a "
                "study is scored on masks"
            )
        names = None if self.classes is None else read_classes(self.classes)
        files = list_folder(self.root, self.tags, classes=names, masks=self.masks)
        _refuse_problems(files)
        masked = [index for index, mask in enumerate(files.masks) if mask is not None]
        _refuse_misfits(files, masked)
        tagged = files.image_labels.any(dim=1).tolist()
        val = self._val(files, masked, tagged)
        train = [index for index in range(len(files)) if tagged[index] and index not in val]
        pseudo = [index for index in train if files.masks[index] is not None]
        chosen = {"train": train, "pseudo": pseudo, "val": sorted(val)}
        for role, what in (
            ("train", "with a tag that are not in val"),
            ("pseudo", "with a tag and a mask that are not in val"),
            ("val", "with a mask that are not trained on"),
        ):
            if not chosen[role]:
                raise BenchError(
                    f"own images: no images {what}; of {len(files)} images {sum(tagged)} have a "
                    f"tag and {len(masked)} a mask; at least two with both are needed"
                )
        return {role: part_of(files, indices) for role, indices in chosen.items()}

    def _val(self, files: TaggedFiles, masked: Sequence[int], tagged: Sequence[bool]) -> set[int]:
        if self.val is None:
            untagged = {index for index in masked if not tagged[index]}
            return untagged or set(_by_hash(files, masked)[::2])
        wanted = {image_key(name) for name in read_ids(self.val)}
        found = {image_key(name): index for index, name in enumerate(files.names)}
        bare = sorted(one for one in wanted if found.get(one) not in {*masked})
        if bare:
            raise BenchError(
                f"--val {self.val}: {len(bare)} of its images are not there or have no mask, first "
                f"{bare[0]}; remove them from the list"
            )
        return {found[one] for one in wanted}


def part_of(files: TaggedFiles, indices: Sequence[int]) -> TaggedFiles:
    """Some images of a data set, in this order."""
    return replace(
        files,
        names=tuple(files.names[index] for index in indices),
        tags=files.tags[list(indices)],
        masks=tuple(files.masks[index] for index in indices),
    )


def _by_hash(files: TaggedFiles, indices: Sequence[int]) -> list[int]:
    """Indices sorted by the hash of the image name: reproducible and independent of the content."""

    def key(index: int) -> bytes:
        return hashlib.sha256(files.names[index].encode(errors="surrogatepass")).digest()

    return sorted(indices, key=key)


def _refuse_problems(files: TaggedFiles) -> None:
    wrong = [f"{bad.name}: {bad.reason}" for bad in files.problems]
    for name in files.names:
        if not (files.root / name).is_file():
            hint = f"; {did_you_mean(name, files.meant[name])}" if name in files.meant else ""
            wrong.append(f"{name}: no such image{hint}")
    if wrong:
        raise BenchError(
            f"own images: {len(wrong)} lines cannot be used, first {wrong[0]}; "
            f"`weakclip check {files.root}` lists all"
        )


def _refuse_misfits(files: TaggedFiles, masked: Sequence[int]) -> None:
    wrong = []
    for index in masked:
        try:
            mask = files.gt_mask(index)
            assert mask is not None
            size = seen_size(files.path(index))[1]
            fitting(mask, files.names[index], size, len(files.classes))
        except Misfit as misfit:
            wrong.append(f"{misfit.where} ({misfit.kind})")
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise BenchError(
            f"own images: {len(wrong)} of {len(masked)} masks cannot be scored, first {wrong[0]}. "
            f"Classes in the order of labels: {', '.join(files.classes[:5])}, ...; --classes FILE "
            "says another order; `weakclip check --masks` lists all"
        )
