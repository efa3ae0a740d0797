"""The images of a split at working size, and a cache for what is computed per image.

Every method gets a `WorkingImages`: images and tags, no pixel annotation. Whether a decoded image
stays in memory or is decoded again depends on the size of the split and changes no pixel.
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
"""Bytes of results that one process caches."""
ONCE = 1 << 26
"""Bytes to cache when the images are visited only once; enough for groups that are being filled."""


class PerImage(Sequence["Tensor"]):
    """A sequence with one tensor per image, computed or read on access."""

    @abstractmethod
    def at(self, position: int) -> Tensor:
        """The tensor at a position, 0..N-1."""

    @overload
    def __getitem__(self, position: int) -> Tensor: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, position: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)}")
        return self.at(position)


class Memory:
    """A cache with a limit in bytes; the least recently used values are dropped first."""

    def __init__(self, budget: int = MEMORY) -> None:
        """Cache up to `budget` bytes; 0 caches nothing."""
        self._budget, self._used = budget, 0
        self._kept: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def __bool__(self) -> bool:
        return self._budget > 0

    def get(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The value of a key, which identifies all that it depends on; made if it is not cached."""
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


def bytes_key(tensor: Tensor) -> bytes:
    """A hash of a tensor's shape, dtype and values, as a cache key for results computed from it."""
    array = tensor.detach().cpu().contiguous().numpy()
    digest = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode(), digest_size=16)
    digest.update(array.tobytes())
    return digest.digest()


class WorkingImages:
    """Tagged images of a split at working size; a `weakclip.stages.protocols.TaggedImages`."""

    def __init__(
        self, files: TaggedFiles, *, max_side: int, patch: int, memory: Memory | None = None
    ) -> None:
        """Hold the files; nothing is read yet.

        Working sides are multiples of `patch` pixels and at most `max_side`; smaller images are not
        enlarged. Decoded images are cached, by default in 1 GiB.
        """
        self.files = files
        self._max_side, self._patch = max_side, patch
        self._memory = Memory() if memory is None else memory
        self.sizes: dict[int, tuple[int, int]] = {}
        """Height and width of the files that have been read."""
        self.bad: dict[int, BadImage] = {}
        """Images that could not be read or written; later stages skip them."""

    @property
    def image_labels(self) -> Tensor:
        """Image-level tags, (N, F), bool."""
        return self.files.image_labels

    @property
    def tagged(self) -> list[int]:
        """Indices of the images with at least one tag."""
        rows: list[int] = self.image_labels.any(dim=1).nonzero()[:, 0].tolist()
        return rows

    @cached_property
    def keys(self) -> list[str]:
        """A file name per image: its stem and a hash that distinguishes it from other images.

        The hash covers path, size in bytes, modification time, tags and working size.
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
        """Hash of all images and of the class names."""
        return content_key(self.keys, list(self.files.classes))

    def __len__(self) -> int:
        return len(self.files)

    def file_size(self, index: int) -> tuple[int, int] | None:
        """Upright height and width of an image; None, with an entry in `bad`, if unreadable."""
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
        """The result of `image`, or the reason why it cannot be read."""
        try:
            return self.image(index)
        except ValueError as error:
            return self.files.bad(index, error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return BadImage(self.files.names[index], "not enough memory; make the image smaller")

    def stack(self, indices: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Images of one size, (B, 3, h, w), uint8, and their tags (B, F), bool, on a device."""
        images = torch.stack([self.image(index) for index in indices])
        return images.to(device), self.image_labels[list(indices)].to(device)

    def usable(self, indices: Iterable[int]) -> Iterator[int]:
        """The indices of readable images; the others are added to `bad`."""
        for index in indices:
            if index in self.bad:
                continue
            image = self.load(index)
            if isinstance(image, BadImage):
                self.bad[index] = image
            else:
                yield index

    def groups(self, indices: Iterable[int], size: int) -> Iterator[list[int]]:
        """Batches of indices with the same working size, at most `size` each.

        Unreadable images are left out and added to `bad`.
        """
        return alike(self.usable(indices), lambda index: tuple(self.image(index).shape), size)

    def check(self) -> None:
        """Raise a ValueError that names the first image that could not be read, if there is one."""
        if self.bad:
            first = next(iter(self.bad.values()))
            raise ValueError(f"{len(self.bad)} image(s), first {first}")

    def _read(self, index: int) -> Tensor:
        image = self.files.image(index)
        size = (int(image.shape[1]), int(image.shape[2]))
        self.sizes[index] = size
        return shrink(image, working_size(size, self._max_side, self._patch))


def _size_and_time(path: Path) -> tuple[int, int]:
    """Bytes and modification time (ns) of a file; zeros if there is none: reading reports that."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return (stat.st_size, stat.st_mtime_ns) if S_ISREG(stat.st_mode) else (0, 0)


def _plain(name: str) -> str:
    """The stem of a path, in characters that every file system accepts; at most 40."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(name).stem)[:40]
