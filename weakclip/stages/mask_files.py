"""Mask files used as seeds: masks of another program, or the annotation."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.data.artifacts import content_key
from weakclip.stages.images import Memory, PerImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.stages.images import WorkingImages


class MaskFiles(PerImage):
    """A `weakclip.stages.kept_seeds.Seeds` read from mask files, at working size."""

    def __init__(self, images: WorkingImages, indices: Sequence[int]) -> None:
        """Hold the images of a split and the indices of those with a mask; nothing is read yet."""
        self._images = images
        self.indices = tuple(indices)
        """Image index at each position."""
        self._memory = Memory()

    @cached_property
    def key(self) -> str:
        """Hash of the images and of names, sizes in bytes and modification times of the masks."""
        masks = [self._images.files.masks[index] for index in self.indices]
        stats = [(mask.name, mask.stat()) for mask in masks if mask is not None]
        files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        return content_key("masks", [self._images.keys[index] for index in self.indices], files)

    def __len__(self) -> int:
        return len(self.indices)

    def at(self, position: int) -> Tensor:
        """Mask at a position, (H, W), int64, 255 = undecided, at the image's working size.

        Raises:
            ValueError: If the file is damaged.
        """
        mask = self._memory.get(position, lambda: self._read(position), lambda mask: mask.nbytes)
        return mask.long()

    def _read(self, position: int) -> Tensor:
        index = self.indices[position]
        mask = self._images.files.gt_mask(index)
        assert mask is not None, "an image without a mask"
        labels, (_, height, width) = torch.from_numpy(mask), self._images.image(index).shape
        if tuple(labels.shape) == (height, width):
            return labels
        return F.interpolate(labels[None, None], (height, width), mode="nearest")[0, 0]
