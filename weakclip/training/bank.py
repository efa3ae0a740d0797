"""Frozen features of fixed training views on disk, shared by processes and by rows of a study.

All variants of a study use the same frozen CLIP, so one run of its image tower serves all their
steps. The arrays are memory-mapped, so the worker processes of a study share one copy. A bank whose
arrays do not match their checksums is made again.
"""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.clip.tower import Features, concatenate
from weakclip.data.artifacts import file_key
from weakclip.data.atomic import write_text
from weakclip.training.parallel import together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from weakclip.training.parallel import Processes

logger = logging.getLogger(__name__)

ARRAYS = ("taps", "global", "dense", "seeds", "grid")
SUMS = "checksums.json"
_PIECE = 1 << 24  # bytes


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encoded views: features, seeds and images on the loss grid."""

    features: Features
    seeds: Tensor
    """(B, S, S), uint8."""
    grid: Tensor
    """Images on the loss grid, (B, 3, g, g), uint8."""

    def __len__(self) -> int:
        """Number of views, B."""
        return len(self.seeds)

    def __iter__(self) -> Iterator[Encoded]:
        """The views one by one, each as a batch of 1."""
        for row in range(len(self)):
            one = slice(row, row + 1)
            yield Encoded(self.features.select(one), self.seeds[one], self.grid[one])

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        features = self.features
        taps = sum(tap.nbytes for tap in features.taps)
        rest = (features.global_embedding, features.dense_embedding, self.seeds, self.grid)
        return taps + sum(tensor.nbytes for tensor in rest)

    def copy(self) -> Encoded:
        """A copy that does not share memory with the batch it is a part of."""
        features = Features(
            taps=tuple(tap.clone() for tap in self.features.taps),
            global_embedding=self.features.global_embedding.clone(),
            dense_embedding=self.features.dense_embedding.clone(),
        )
        return Encoded(features, self.seeds.clone(), self.grid.clone())

    @classmethod
    def concatenate(cls, parts: Sequence[Encoded]) -> Encoded:
        """Several batches joined into one."""
        return cls(
            concatenate([part.features for part in parts]),
            torch.cat([part.seeds for part in parts]),
            torch.cat([part.grid for part in parts]),
        )


class ViewBank:
    """Views of N images by row; row = image x views + view."""

    def __init__(self, folder: Path) -> None:
        """Memory-map the arrays in `folder`."""
        self._arrays: dict[str, NDArray[np.generic]] = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS
        }

    @classmethod
    def ensure(
        cls, folder: Path, make: Callable[[], Iterable[Encoded]], processes: Processes
    ) -> ViewBank:
        """Open a bank; make it first if it is missing or damaged.

        Args:
            folder: Its name is a hash of everything that the views depend on.
            make: Yields all views in order, in batches.
            processes: The processes that train together; the first one makes the bank.
        """
        with together(folder, processes):
            if processes.first and not _is_whole(folder):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                _write(folder, make())
        return cls(folder)

    def __getitem__(self, rows: Sequence[int]) -> Encoded:
        """The views of some rows, on the CPU."""
        taps = self._tensor("taps", rows)
        features = Features(
            taps=tuple(taps[:, level] for level in range(taps.shape[1])),
            global_embedding=self._tensor("global", rows),
            dense_embedding=self._tensor("dense", rows),
        )
        return Encoded(features, self._tensor("seeds", rows), self._tensor("grid", rows))

    def _tensor(self, name: str, rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._arrays[name][list(rows)])


def _write(folder: Path, views: Iterable[Encoded]) -> None:
    """Write the arrays, then the checksums that mark the bank as complete."""
    whole = Encoded.concatenate(list(views))
    features = whole.features
    arrays = {
        "taps": torch.stack(features.taps, dim=1),  # (N x views, 4, D, h, w)
        "global": features.global_embedding,
        "dense": features.dense_embedding,
        "seeds": whole.seeds,
        "grid": whole.grid,
    }
    for name, tensor in arrays.items():
        np.save(folder / f"{name}.npy", tensor.numpy())
    write_text(folder / SUMS, json.dumps(_checksums(folder)))


def _is_whole(folder: Path) -> bool:
    if not (folder / SUMS).is_file():
        return False
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        whole = bool(sums == _checksums(folder))
    except (OSError, ValueError):
        whole = False
    if not whole:
        logger.warning("%s: kept features are damaged and are made again", folder.name)
    return whole


def _checksums(folder: Path) -> dict[str, int]:
    """CRC-32 of each array file."""
    return {name: _checksum(file_key(folder / f"{name}.npy")) for name in ARRAYS}


@lru_cache(maxsize=64)
def _checksum(file: tuple[Path, int, int]) -> int:
    """CRC-32 of an array file; a file is read again only after it has changed."""
    found = 0
    with file[0].open("rb") as opened:
        while piece := opened.read(_PIECE):
            found = zlib.crc32(piece, found)
    return found
