"""One reader of tagged images, whatever layout they lie in: VOC, COCO or a plain folder.

Each layout has a function that lists it (`list_voc`, `list_coco`, `list_folder`) as a
`TaggedFiles`; nothing is decoded before it is used. An image that cannot be had is a value,
`BadImage`, so that one bad file stops no run of a million.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch

from weakclip.data.formats.masks import read_mask
from weakclip.data.read.images import read_rgb, readable
from weakclip.data.read.names import did_you_mean
from weakclip.suggestion import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image, or a line that should name one, that cannot be used."""

    name: str
    """Path below the root, or file and line of the listing."""
    reason: str
    """What is wrong and what to do about it, for people."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaggedFiles:
    """Images on disk with their image-level tags; a `weakclip.stages.protocols.TaggedImages`."""

    root: Path
    """Folder of the images; no name leads out of it."""
    names: tuple[str, ...]
    """N paths below the root, with slashes, in the order of the list that names them."""
    classes: tuple[str, ...]
    """Names of the F foreground classes; class c has label c + 1 in a mask."""
    image_labels: Tensor
    """(N, F), bool."""
    masks: tuple[Path | None, ...]
    """Annotated masks, N; None where there is none."""
    problems: tuple[BadImage, ...] = ()
    """Lines of the list that name no image, and annotations that cannot be read."""
    mask_root: Path | None = None
    """Folder in which the masks were looked for by the names of the images."""
    left_out: tuple[BadImage, ...] = ()
    """Pictures below the root that are not read, and why."""
    meant: Mapping[str, str] = field(default_factory=dict)
    """For names that are not there, the image that they probably mean."""
    reading: tuple[str, ...] = ()
    """How tags and masks were understood where that is not plain, a sentence each."""

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self.names)

    @property
    def sha256(self) -> str:
        """Hash of the names in this order, one a line."""
        return list_sha256(self.names)

    def path(self, index: int) -> Path:
        """Where an image is.

        Raises:
            ValueError: If a link leads out of the root or in a circle.
        """
        path = self.root / self.names[index]
        with readable(path, "link"):
            real, root = path.resolve(), self.root.resolve()
        if not real.is_relative_to(root):
            raise ValueError(f"{path}: is a link that leads out of {self.root}; copy the file")
        return path

    def image(self, index: int) -> Tensor:
        """An image by the conventions of `weakclip.data.read.images`, (3, H, W), uint8, RGB.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        return torch.from_numpy(read_rgb(self.path(index))).permute(2, 0, 1).contiguous()

    def load(self, index: int) -> Tensor | BadImage:
        """`image`, or why there is none."""
        try:
            return self.image(index)
        except ValueError as error:
            return self.bad(index, error)

    def bad(self, index: int, error: ValueError) -> BadImage:
        """What `error` says of an image, without the path that `BadImage.name` has already."""
        name = self.names[index]
        hint = f"; {did_you_mean(name, self.meant[name])}" if name in self.meant else ""
        return BadImage(name, str(error).removeprefix(f"{self.root / name}: ") + hint)

    def gt_mask(self, index: int) -> NDArray[np.uint8] | None:
        """The annotated mask, (H, W) uint8, or None if the data set has none of this image.

        Raises:
            ValueError: If the file is damaged or holds colours instead of labels.
        """
        path = self.masks[index]
        return None if path is None else read_mask(path)


def list_sha256(names: Iterable[str]) -> str:
    """SHA-256 of a list, one name a line: what tells two splits apart in a record.

    Example:
        >>> list_sha256(["a", "b"])[:12]
        '911169ddaaf1'
    """
    text = "".join(f"{name}\n" for name in names)  # of names that are no UTF-8, their bytes
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def relative_name(name: str, where: str) -> str:
    """`name` as a path with slashes that stays below the folder it is relative to.

    Args:
        name: A path from a list that somebody wrote.
        where: File and line of the list, for the error.

    Raises:
        ValueError: If the path is empty, absolute or climbs with "..".

    Example:
        >>> relative_name("./birds/a b.jpg", "labels.csv:2")
        'birds/a b.jpg'
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(
            f"{where}: expected a path below the folder of the images, got {name!r}; "
            "write it relative to that folder, without '..'"
        )
    return path.as_posix()


def check_known(tags: Sequence[str], classes: Sequence[str]) -> None:
    """Raise unless every tag is a class.

    Raises:
        ValueError: If one is not; says which was probably meant.
    """
    unknown = [tag for tag in tags if tag not in classes]
    if unknown:
        raise ValueError(
            f"unknown tag {unknown[0]!r}; {suggestion(unknown[0], classes)}. "
            "Correct it, or add it to the classes"
        )


def labels_tensor(tags: Sequence[Iterable[str]], classes: Sequence[str]) -> Tensor:
    """The tags of N images as (N, F) bool; every tag must be one of the F classes.

    Example:
        >>> labels_tensor([["dog"], [], ["cat", "dog"]], ["cat", "dog"]).int().tolist()
        [[0, 1], [0, 0], [1, 1]]
    """
    column = {name: index for index, name in enumerate(classes)}
    labels = torch.zeros(len(tags), len(classes), dtype=torch.bool)
    for row, names in enumerate(tags):
        for name in names:
            labels[row, column[name]] = True
    return labels
