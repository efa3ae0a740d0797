"""The images of a split at the size they are worked on, and what memory keeps of them.

A `WorkingImages` is what every method is given: images and tags, no pixel annotation. Whether an
image is decoded once or each time it is used is decided by the size of the split, and changes
no pixel.
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePosixPath
from stat import S_ISREG
from typing import TYPE_CHECKING, TypeVar, cast, overload

import torch

from weakclip.data.artifacts import content_key
from weakclip.data.read.images import seen_size
from weakclip.data.read.tagged import BadImage
from weakclip.stages.size import shrink, working_size
from weakclip.training.memory import alike, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator
    from pathlib import Path

    from torch import Tensor

    from weakclip.data.read.tagged import TaggedFiles

Value = TypeVar("Value")

MEMORY = 1 << 30
"""Bytes that one process keeps of what it would otherwise read or compute again."""
ONCE = 1 << 26
"""Bytes that it keeps of images that are gone through once: those of the groups that fill up."""


class PerImage(Sequence["Tensor"]):
    """A tensor for each image, made or read when it is used."""

    @abstractmethod
    def at(self, position: int) -> Tensor:
        """The tensor at a position, 0..N-1."""

    @overload
    def __getitem__(self, position: int) -> Tensor: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, position: int | slice) -> Tensor | Sequence[Tensor]:
        """The tensor at a position; of a slice, a list of them."""
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)}")
        return self.at(position)


class Memory:
    """Values by key, the oldest forgotten first, up to a number of bytes."""

    def __init__(self, budget: int = MEMORY) -> None:
        """Keep up to `budget` bytes; 0 keeps nothing."""
        self._budget, self._used = budget, 0
        self._kept: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether anything is kept."""
        return self._budget > 0

    def get(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The value of a key, made if it is not there.

        Args:
            key: Of all that the value depends on.
            make: Makes the value.
            size: Its bytes.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return cast("Value", self._kept[key][0])
        value = make()
        if (needed := size(value)) <= self._budget:
            self._kept[key] = (value, needed)
            self._used += needed
            while self._used > self._budget:
                _, (_, freed) = self._kept.popitem(last=False)
                self._used -= freed
        return value


def file_key(path: Path) -> tuple[Path, int, int]:
    """A file as it is now: its path, the time of its last change, and its size in bytes.

    Raises:
        FileNotFoundError: If it is not there.
    """
    stat = path.stat()
    return path, stat.st_mtime_ns, stat.st_size


def bytes_key(tensor: Tensor) -> bytes:
    """A hash of shape, type and values of a tensor: a key for what follows from it."""
    array = tensor.detach().cpu().contiguous().numpy()
    digest = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode(), digest_size=16)
    digest.update(array.tobytes())
    return digest.digest()


class WorkingImages:
    """Tagged images of a split; a `weakclip.stages.protocols.TaggedImages`."""

    def __init__(
        self, files: TaggedFiles, *, max_side: int, patch: int, memory: Memory | None = None
    ) -> None:
        """Nothing is read yet.

        Args:
            files: Images and tags.
            max_side: Longest side to work at, pixels; smaller images are not enlarged.
            patch: Side of CLIP's patches; sizes are whole patches.
            memory: Where decoded images are kept; by default a gibibyte of them.
        """
        self.files = files
        self._max_side, self._patch = max_side, patch
        self._memory = Memory() if memory is None else memory
        self.sizes: dict[int, tuple[int, int]] = {}
        """Height and width of the files that were read."""
        self.bad: dict[int, BadImage] = {}
        """Images that could not be read or written; nothing more is made of them."""

    @property
    def image_labels(self) -> Tensor:
        """Image-level tags, (N, F), bool."""
        return self.files.image_labels

    @property
    def tagged(self) -> list[int]:
        """Images that have a tag."""
        rows: list[int] = self.image_labels.any(dim=1).nonzero()[:, 0].tolist()
        return rows

    @cached_property
    def keys(self) -> list[str]:
        """For each image a file name: its own, and a hash of all that tells it from others.

        They are path, size in bytes, time, tags and working size.
        """
        keys = []
        for name, labels in zip(self.files.names, self.image_labels, strict=True):
            file = _size_and_time(self.files.root / name)
            tags = labels.nonzero()[:, 0].tolist()
            key = content_key(name, file, tags, self._max_side, self._patch)
            keys.append(f"{_plain(name)}-{key}")
        return keys

    @cached_property
    def key(self) -> str:
        """Hash of all images and of the names of the classes."""
        return content_key(self.keys, list(self.files.classes))

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self.files)

    def file_size(self, index: int) -> tuple[int, int] | None:
        """Height and width of an image, upright; none if it cannot be read, as `bad` then says."""
        if index not in self.sizes and index not in self.bad:
            try:
                _, self.sizes[index] = seen_size(self.files.path(index))
            except ValueError as error:
                self.bad[index] = self.files.bad(index, error)
        return None if index in self.bad else self.sizes[index]

    def image(self, index: int) -> Tensor:
        """An image at its working size, (3, h, w), uint8.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        return self._memory.get(index, lambda: self._read(index), lambda image: image.nbytes)

    def load(self, index: int) -> Tensor | BadImage:
        """`image`, or why there is none."""
        try:
            return self.image(index)
        except ValueError as error:
            return self.files.bad(index, error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return BadImage(self.files.names[index], "not enough memory; make the image smaller")

    def stack(self, indices: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Images of one size, (B, 3, h, w) uint8, and their tags (B, F), on a device."""
        images = torch.stack([self.image(index) for index in indices])
        return images.to(device), self.image_labels[list(indices)].to(device)

    def usable(self, indices: Iterable[int]) -> Iterator[int]:
        """The images that can be read; the others are entered in `bad`."""
        for index in indices:
            if index in self.bad:
                continue
            image = self.load(index)
            if isinstance(image, BadImage):
                self.bad[index] = image
            else:
                yield index

    def groups(self, indices: Iterable[int], size: int) -> Iterator[list[int]]:
        """Images that can be worked on together: up to `size` of one working size.

        Images that cannot be read are left out and entered in `bad`.
        """
        return alike(self.usable(indices), lambda index: tuple(self.image(index).shape), size)

    def check(self) -> None:
        """Raise if an image could not be read.

        Raises:
            ValueError: Names the first and says how many there are.
        """
        if self.bad:
            first = next(iter(self.bad.values()))
            raise ValueError(f"{len(self.bad)} image(s), first {first.name}: {first.reason}")

    def _read(self, index: int) -> Tensor:
        image = self.files.image(index)
        size = (int(image.shape[1]), int(image.shape[2]))
        self.sizes[index] = size
        return shrink(image, working_size(size, self._max_side, self._patch))


def _size_and_time(path: Path) -> tuple[int, int]:
    """Bytes and nanoseconds of a file; zeros of none, what is wrong with it is found on reading."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return (stat.st_size, stat.st_mtime_ns) if S_ISREG(stat.st_mode) else (0, 0)


def _plain(name: str) -> str:
    """The stem of a path in letters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(name).stem)[:40]
