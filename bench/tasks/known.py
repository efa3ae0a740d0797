"""What is known of the pixels of scored images, apart from their class: for a diagnosis."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.cartoon.known import KnownScenes
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.stages.kept_seeds import Seeds

SEED = "seed"
SEED_GROUPS = ("seed is right", "seed is wrong", "seed is undecided")


class KnownPixels:
    """Views of the images of a split: what a CartoonVOC knows, and the seeds of a method."""

    def __init__(
        self, files: TaggedFiles, seeds: Seeds | None = None, places: Sequence[int] = ()
    ) -> None:
        """Say what is known.

        Args:
            files: Images of a split; of a CartoonVOC everything is known.
            seeds: Seeds of some images of a split, if the method has any; an image without them
                is undecided.
            places: Where in the split of the seeds each image of `files` is.
        """
        self._files, self._seeds = files, seeds
        indices = () if seeds is None else seeds.indices
        position = {image: place for place, image in enumerate(indices)}
        self._positions = {
            index: position[image] for index, image in enumerate(places) if image in position
        }
        root = next((mask.parent.parent for mask in files.masks if mask is not None), files.root)
        self._scenes = KnownScenes(root) if KnownScenes.found(root) else None
        self.views: dict[str, tuple[str, ...]] = {
            **({} if self._scenes is None else self._scenes.views),
            **({} if seeds is None else {SEED: SEED_GROUPS}),
        }
        """Name -> names of the groups."""

    def groups(self, indices: Sequence[int], truth: Tensor) -> dict[str, Tensor]:
        """View -> group of each pixel, (B, H, W), of images with these annotated masks."""
        found: dict[str, Tensor] = {}
        if self._scenes is not None:
            names = [PurePosixPath(self._files.names[index]).stem for index in indices]
            each = [self._scenes.groups(name) for name in names]
            for view in self._scenes.views:
                found[view] = torch.stack([torch.from_numpy(groups[view]) for groups in each])
        if self._seeds is not None:
            labels = torch.stack([self._labels(self._seeds, index, truth) for index in indices])
            found[SEED] = torch.where(labels == IGNORE, 2, (labels != truth).long())
        return found

    def _labels(self, seeds: Seeds, index: int, truth: Tensor) -> Tensor:
        """Seeds of an image at the size of its annotated mask."""
        if index not in self._positions:
            return torch.full(truth.shape[1:], IGNORE)
        labels = seeds[self._positions[index]][None, None].float()
        return F.interpolate(labels, truth.shape[1:], mode="nearest-exact")[0, 0].long()
