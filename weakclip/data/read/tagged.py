"""Tagged images on disk, independent of their layout: VOC, COCO or a plain folder.

Each layout has a function that lists its images (`list_voc`, `list_coco`, `list_folder`) as a
`TaggedFiles`; an image is decoded only when it is used. An unusable image is a value, `BadImage`,
so that one bad file does not stop a run over many.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from weakclip.data.formats.masks import read_mask
from weakclip.data.read.images import read_rgb, readable
from weakclip.data.read.names import did_you_mean
from weakclip.suggestion import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class BadImage:
    """An unusable image, or a line that should name one."""

    name: str
    """Path relative to the root, or file and line of the list."""
    reason: str
    """What is wrong and how to fix it."""

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaggedFiles:
    """Images on disk with their image-level tags; a `weakclip.stages.protocols.TaggedImages`."""

    root: Path
    """Folder of the images; no name leads out of it."""
    names: tuple[str, ...]
    """N paths relative to the root, with slashes, in the order of their list."""
    classes: tuple[str, ...]
    """Names of the F foreground classes; class c has label c + 1 in a mask."""
    tags: NDArray[np.bool_]
    """(N, F)."""
    masks: tuple[Path | None, ...]
    """Annotated masks, N; None where there is none."""
    problems: tuple[BadImage, ...] = ()
    """Lines of the list that name no image, and unreadable annotations."""
    mask_root: Path | None = None
    """Folder in which masks were searched by the names of the images."""
    left_out: tuple[BadImage, ...] = ()
    """Pictures below the root that are not listed, and why."""
    meant: Mapping[str, str] = field(default_factory=dict)
    """For names that do not exist, the image that is probably meant."""
    reading: tuple[str, ...] = ()
    """How unusual tags and masks were interpreted, one sentence each."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def image_labels(self) -> Tensor:
        """The tags as a tensor, (N, F), bool; it shares their memory."""
        import torch  # slow, and not needed by all who read tags

        return torch.from_numpy(self.tags)

    @property
    def sha256(self) -> str:
        """Hash of the names in order, one per line."""
        return list_sha256(self.names)

    def path(self, index: int) -> Path:
        """The path of an image.

        Raises:
            ValueError: If a link leads out of the root or forms a loop.
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
        import torch

        return torch.from_numpy(read_rgb(self.path(index))).permute(2, 0, 1).contiguous()

    def load(self, index: int) -> Tensor | BadImage:
        """The result of `image`, or the reason why it cannot be read."""
        try:
            return self.image(index)
        except ValueError as error:
            return self.bad(index, error)

    def bad(self, index: int, error: ValueError) -> BadImage:
        """`error` as a `BadImage`, without the path that is already in its name."""
        name = self.names[index]
        hint = f"; {did_you_mean(name, self.meant[name])}" if name in self.meant else ""
        return BadImage(name, str(error).removeprefix(f"{self.root / name}: ") + hint)

    def gt_mask(self, index: int) -> NDArray[np.uint8] | None:
        """The annotated mask, (H, W), uint8; None if the image has none.

        Raises:
            ValueError: If the file is damaged or contains colours instead of labels.
        """
        path = self.masks[index]
        return None if path is None else read_mask(path)


def list_sha256(names: Iterable[str]) -> str:
    """SHA-256 of a list, one name per line; identifies a split in records.

    Example:
        >>> list_sha256(["a", "b"])[:12]
        '911169ddaaf1'
    """
    text = "".join(f"{name}\n" for name in names)  # names that are not UTF-8 give their bytes
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def relative_name(name: str, where: str) -> str:
    """Normalise a path from a list (`where`), and check that it stays below its folder.

    Raises:
        ValueError: If the path is empty, absolute or contains "..".

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
    """Raise a ValueError if a tag is not a class; it proposes the one that was probably meant."""
    unknown = [tag for tag in tags if tag not in classes]
    if unknown:
        raise ValueError(
            f"unknown tag {unknown[0]!r}; {suggestion(unknown[0], classes)}. "
            "Correct it, or add it to the classes"
        )


def labels_array(tags: Sequence[Iterable[str]], classes: Sequence[str]) -> NDArray[np.bool_]:
    """The tags of N images as (N, F), bool; every tag must be one of the F classes.

    Example:
        >>> labels_array([["dog"], [], ["cat", "dog"]], ["cat", "dog"]).astype(int).tolist()
        [[0, 1], [0, 0], [1, 1]]
    """
    column = {name: index for index, name in enumerate(classes)}
    labels = np.zeros((len(tags), len(classes)), np.bool_)
    for row, names in enumerate(tags):
        for name in names:
            labels[row, column[name]] = True
    return labels
