"""Pixel counts of the images of a task, kept image by image, so that a killed scoring goes on.

A file of counts grows by one row an image. A row that was cut by a crash, and what follows it, is
dropped when the file is opened, and those images are scored again.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from weakclip.ops.confusion import boundary_counts, boundary_width, joint_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

_HEAD = struct.Struct("<IIII")  # image, filled cells of both tables, checksum of the cells


class KeptCounts:
    """Counts of a task by image."""

    def __init__(self, path: Path, images: int, classes: int) -> None:
        """Open a file, or start it.

        Args:
            path: Named by all that the counts depend on.
            images: Number of images of the task.
            classes: K, background included.
        """
        self.path, self._images, self._classes = path, images, classes
        self._rows: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        if path.is_file():
            self._open()

    @property
    def missing(self) -> list[int]:
        """Images without counts."""
        return [index for index in range(self._images) if index not in self._rows]

    def add(self, indices: Sequence[int], pred_mask: Tensor, gt_mask: Tensor) -> None:
        """Count predicted against annotated masks, (B, H, W) each, of some images."""
        height, width = (int(side) for side in gt_mask.shape[1:])
        near = boundary_width(height, width)
        joint = joint_counts(pred_mask, gt_mask, self._classes).numpy()
        boundary = boundary_counts(pred_mask, gt_mask, self._classes, width=near).numpy()
        rows = [_row(*each) for each in zip(indices, joint, boundary, strict=True)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(b"".join(rows))
        self._rows |= {
            index: (joint[place].reshape(-1), boundary[place].reshape(-1))
            for place, index in enumerate(indices)
        }

    def counts(self) -> NDArray[np.int64]:
        """(N, K, 3): intersection, predicted and annotated pixels, in the order of the images."""
        joint = torch.from_numpy(np.stack([self._joint(index) for index in range(self._images)]))
        squares = joint[:, :, : self._classes]
        parts = (squares.diagonal(dim1=1, dim2=2), squares.sum(dim=1), joint.sum(dim=2))
        found: NDArray[np.int64] = torch.stack(parts, dim=-1).numpy()
        return found

    def boundary(self) -> NDArray[np.int64]:
        """(N, K, 3): the same of the pixels near contours."""
        rows = [self._rows[index][1] for index in range(self._images)]
        return np.stack(rows).reshape(self._images, self._classes, 3)

    def confusion(self) -> NDArray[np.int64]:
        """(K, K + 1): pixels by annotated and predicted class over all images."""
        total: NDArray[np.int64] = sum(
            (self._joint(index) for index in range(self._images)),
            start=np.zeros((self._classes, self._classes + 1), dtype=np.int64),
        )
        return total

    def _joint(self, index: int) -> NDArray[np.int64]:
        return self._rows[index][0].reshape(self._classes, self._classes + 1)

    def _open(self) -> None:
        content, place = self.path.read_bytes(), 0
        while place + _HEAD.size <= len(content):
            index, joint, boundary, checksum = _HEAD.unpack_from(content, place)
            end = place + _HEAD.size + 16 * (joint + boundary)
            body = content[place + _HEAD.size : end]
            if end > len(content) or zlib.crc32(body) != checksum or index >= self._images:
                break
            cells = np.frombuffer(body, dtype="<i8").reshape(-1, 2)
            self._rows[index] = (
                _filled(cells[:joint], self._classes * (self._classes + 1)),
                _filled(cells[joint:], self._classes * 3),
            )
            place = end
        if place < len(content):
            with self.path.open("r+b") as file:
                file.truncate(place)


def _row(index: int, joint: NDArray[np.int64], boundary: NDArray[np.int64]) -> bytes:
    cells = [_cells(joint), _cells(boundary)]
    body = np.concatenate(cells).astype("<i8").tobytes()
    return _HEAD.pack(index, len(cells[0]), len(cells[1]), zlib.crc32(body)) + body


def _cells(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place and value of the cells that are not 0, (n, 2)."""
    flat = table.reshape(-1)
    places = flat.nonzero()[0]
    return np.stack([places, flat[places]], axis=1)


def _filled(cells: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    table = np.zeros(size, dtype=np.int64)
    table[cells[:, 0]] = cells[:, 1]
    return table


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders that may be gone already."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
