"""Labels of a split on disk, one palette PNG per image: seeds, or masks for retraining.

Seeds are made from maps by a rule that uses no pixel annotation. A file that cannot be read is
made again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import torch

from weakclip.data.artifacts import code_id, content_key, file_key
from weakclip.data.formats.masks import read_mask, write_mask
from weakclip.description import describe
from weakclip.stages.images import Memory, PerImage, bytes_key
from weakclip.stages.maps import FileMaps, KeptMaps
from weakclip.stages.seeds import SeedRule, seeds_from
from weakclip.training.parallel import together

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from weakclip.stages.protocols import Setting, TaggedImages


logger = logging.getLogger(__name__)


class Seeds(Protocol):
    """Labels of some images of a split: seeds, or whole masks."""

    @property
    def key(self) -> str:
        """Hash of everything that the seeds depend on."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Image index at each position."""

    def __len__(self) -> int:
        """Number of positions."""

    def __getitem__(self, position: int, /) -> Tensor:
        """Seeds at a position, (H, W), int64, 255 = undecided."""


class KeptSeeds(PerImage):
    """Labels of the tagged images of a split, read from disk when they are used."""

    def __init__(
        self,
        folder: Path,
        indices: Sequence[int],
        keys: Sequence[str],
        memory: Memory | None = None,
    ) -> None:
        """Refer to a folder, whose name is a hash of what all seeds depend on; it may lack files.

        `keys` are hashes of what the seeds of each image depend on. By default the seeds that are
        read are cached in one gibibyte of their own.
        """
        self.folder = folder
        self.indices = tuple(indices)
        """Image index at each position."""
        self._keys = dict(zip(indices, keys, strict=True))
        self._memory = memory or Memory()

    @property
    def key(self) -> str:
        """Hash of everything that the seeds depend on."""
        return content_key(self.folder.name, list(self._keys.values()))

    def __len__(self) -> int:
        return len(self.indices)

    def at(self, position: int) -> Tensor:
        """Seeds at a position, (H, W), int64, 255 = undecided."""
        return self._labels(self.indices[position]).long()

    def path(self, index: int) -> Path:
        """The label file of an image."""
        return self.folder / f"{self._keys[index]}.png"

    def lacks(self, index: int) -> bool:
        """Whether an image has no readable seeds."""
        try:
            self._labels(index)
        except FileNotFoundError:
            return True
        except ValueError:
            logger.warning("%s: cannot be read and is made again", self.path(index).name)
            return True
        return False

    def _labels(self, index: int) -> Tensor:
        """Seeds of an image, (H, W), uint8."""
        path = self.path(index)
        return self._memory.get(
            file_key(path), lambda: torch.from_numpy(read_mask(path)), lambda labels: labels.nbytes
        )


def ensure_seeds(
    maps: Sequence[Tensor], data: TaggedImages, rule: SeedRule, setting: Setting
) -> KeptSeeds:
    """Make the missing seeds of the tagged images of a split that have maps, one (F, h, w) each."""

    def make(index: int) -> Tensor:
        _, height, width = data.image(index).shape
        return seeds_from(maps[index][None], (height, width), rule)[0]

    return ensure_labels(maps, data, setting, key=(describe(rule), code_id(__name__)), make=make)


def ensure_labels(
    maps: Sequence[Tensor],
    data: TaggedImages,
    setting: Setting,
    *,
    key: Sequence[object],
    make: Callable[[int], Tensor],
) -> KeptSeeds:
    """Make the missing labels of the tagged images of a split that have maps, one (F, h, w) each.

    `key` is everything that the labels depend on, apart from maps and images; `make` returns the
    labels of an image index, (H, W), 0 to 255.
    """
    tagged: list[int] = data.image_labels.any(dim=1).nonzero()[:, 0].tolist()
    if isinstance(maps, (KeptMaps, FileMaps)):
        tagged = [index for index in tagged if not maps.lacks(index)]
        origin, keys = maps.origin, [maps.item_key(index) for index in tagged]
    else:
        origin, keys = "maps", [bytes_key(maps[index]).hex() for index in tagged]
    kept = KeptSeeds(
        setting.place(f"seeds-{content_key(origin, *key)}"), tagged, keys, setting.memory
    )
    if any(setting.processes.gather(any(kept.lacks(index) for index in tagged))):
        with together(kept.folder, setting.processes):
            kept.folder.mkdir(parents=True, exist_ok=True)
            for index in setting.processes.share(tagged):
                if kept.lacks(index):
                    labels = make(index).to(torch.uint8).numpy()
                    write_mask(kept.path(index), labels, durable=False)
    return kept
