"""Properties of the pixels of scored images: annotated class, and groups for the diagnosis."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.cartoon.known import KnownScenes
from bench.errors import BenchError
from weakclip.data.artifacts import file_key
from weakclip.evaluation.causes import CONTOUR, WIDTHS, contour_groups
from weakclip.labels import IGNORE
from weakclip.ops.cells import contour_bands

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from torch import Tensor

    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.stages.images import Memory
    from weakclip.stages.kept_seeds import Seeds

SEED = "seed"
SEED_GROUPS = ("seed is right", "seed is wrong", "seed is undecided")


class KnownPixels:
    """Annotated masks of a split, and the groups of their pixels.

    All runs of a process score the same images, so masks and groups are cached in `memory`.
    """

    def __init__(self, files: TaggedFiles, memory: Memory) -> None:
        """Take a split; nothing is read yet. CartoonVOC has more views than other data sets."""
        self._files, self._memory = files, memory
        root = next((mask.parent.parent for mask in files.masks if mask is not None), files.root)
        self._scenes = KnownScenes(root) if KnownScenes.found(root) else None
        self.views = {
            CONTOUR: contour_groups(),
            **({} if self._scenes is None else self._scenes.views),
        }
        """Name -> names of the groups."""

    def mask(self, index: int) -> Tensor:
        """Annotated labels of an image, (H, W) uint8.

        Raises:
            BenchError: If the image has no mask.
        """
        key = self._key("mask", index)
        return self._memory.get(key, lambda: self._read(index), lambda mask: mask.nbytes)

    def groups(self, index: int, view: str, gt_mask: Tensor) -> Tensor:
        """Group of each pixel of an image in a view, (H, W) uint8; `gt_mask` is its annotation."""
        if view == CONTOUR:
            key = self._key(CONTOUR, index)
            return self._memory.get(key, lambda: _bands(gt_mask), lambda bands: bands.nbytes)
        return self._memory.get(
            self._key("scene", index),
            lambda: self._scene(index),
            lambda found: sum(each.nbytes for each in found.values()),
        )[view]

    def _key(self, what: str, index: int) -> Hashable:
        mask = self._files.masks[index]
        return "known pixels", what, mask and file_key(mask)

    def _read(self, index: int) -> Tensor:
        mask = self._files.gt_mask(index)
        if mask is None:
            raise BenchError(f"{self._files.names[index]}: expected an annotated mask, got none")
        return torch.from_numpy(mask)

    def _scene(self, index: int) -> dict[str, Tensor]:
        assert self._scenes is not None
        groups = self._scenes.groups(PurePosixPath(self._files.names[index]).stem)
        return {view: torch.from_numpy(each) for view, each in groups.items()}


def _bands(gt_mask: Tensor) -> Tensor:
    return contour_bands(gt_mask[None], WIDTHS)[0].to(torch.uint8)


class SeedView:
    """Groups of pixels by whether the seed is right, wrong or undecided."""

    views: Mapping[str, tuple[str, ...]] = {SEED: SEED_GROUPS}

    def __init__(self, seeds: Seeds, places: Sequence[int]) -> None:
        """Take seeds of some images of a split, and the index in it of each scored image.

        Images without seeds count as undecided everywhere.
        """
        self._seeds = seeds
        position = {image: place for place, image in enumerate(seeds.indices)}
        self._positions = {
            index: position[image] for index, image in enumerate(places) if image in position
        }

    def groups(self, index: int, gt_mask: Tensor) -> Tensor:
        """Group of each pixel of an image, (H, W) uint8, with the size of its annotated mask."""
        if index not in self._positions:
            return torch.full(gt_mask.shape, 2, dtype=torch.uint8)
        seeds = self._seeds[self._positions[index]][None, None].float()
        labels = F.interpolate(seeds, gt_mask.shape, mode="nearest-exact")[0, 0].to(torch.uint8)
        return torch.where(labels == IGNORE, 2, (labels != gt_mask).to(torch.uint8))
