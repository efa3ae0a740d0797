"""Pixel counts of the images of a task, saved image by image, so that scoring can be resumed.

The file of counts grows by one row per image. When it is opened, an incomplete row and all rows
after it are dropped, and these images are scored again.

Pixels are counted in groups (`weakclip.evaluation.causes.View`), always by their distance to a
contour. The sum over these groups is the confusion matrix of each image.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from weakclip.evaluation.causes import CONTOUR, contour_groups
from weakclip.ops.cells import IMAGE, PIXELS, PREDICTED, TRUTH, count_cells
from weakclip.ops.confusion import boundary_counts, boundary_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

_HEAD = struct.Struct("<III")  # image, number of rows of cells, checksum of what follows


class KeptCounts:
    """The counts of a task, saved for each image."""

    def __init__(
        self,
        path: Path,
        images: int,
        classes: int,
        views: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """Open the file of counts if it exists; its name depends on all that the counts depend on.

        `classes` is the number K of classes, background included. `views` are the names of groups
        of pixels by view, by default only the groups by distance to a contour.
        """
        self.path, self._images, self._classes = path, images, classes
        self.views = {CONTOUR: contour_groups()} if views is None else dict(views)
        """Name -> names of the groups."""
        # image -> rows of view and cell, (n, 6), and counts near contours, (K, 3)
        self._rows: dict[int, tuple[NDArray[np.int32], NDArray[np.int32]]] = {}
        if path.is_file():
            self._open()

    @property
    def missing(self) -> list[int]:
        """Images without counts."""
        return [index for index in range(self._images) if index not in self._rows]

    def add(
        self,
        indices: Sequence[int],
        pred_mask: Tensor,
        gt_mask: Tensor,
        groups: Mapping[str, Tensor],
    ) -> None:
        """Count predicted against annotated masks, (B, H, W) each, of some images.

        `groups` has the group of each pixel, (B, H, W), by view; views not in `views` are ignored.
        """
        height, width = (int(side) for side in gt_mask.shape[1:])
        near = boundary_width(height, width)
        boundary = boundary_counts(pred_mask, gt_mask, self._classes, width=near).int().numpy()
        tables = [
            count_cells(pred_mask, gt_mask, groups[name], self._classes) for name in self.views
        ]
        cells = np.concatenate(
            [np.insert(table, 0, view, axis=1) for view, table in enumerate(tables)]
        )
        rows = {
            index: (cells[cells[:, 1 + IMAGE] == place], boundary[place])
            for place, index in enumerate(indices)
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(b"".join(_row(index, *each) for index, each in rows.items()))
        self._rows |= rows

    def counts(self) -> NDArray[np.int64]:
        """Intersection, predicted and annotated pixels, (N, K, 3), in the order of the images."""
        image, _, truth, predicted, pixels = self.cells(CONTOUR).astype(np.int64).T
        found = np.zeros((self._images, self._classes + 1, 3), dtype=np.int64)
        np.add.at(found[..., 0], (image, truth), pixels * (truth == predicted))
        np.add.at(found[..., 1], (image, predicted), pixels)
        np.add.at(found[..., 2], (image, truth), pixels)
        return found[:, : self._classes]

    def boundary(self) -> NDArray[np.int64]:
        """The same for the pixels near contours, (N, K, 3)."""
        return np.stack([self._rows[index][1] for index in range(self._images)]).astype(np.int64)

    def confusion(self) -> NDArray[np.int64]:
        """Pixels by annotated and predicted class over all images, (K, K + 1)."""
        cells = self.cells(CONTOUR)
        total = np.zeros((self._classes, self._classes + 1), dtype=np.int64)
        np.add.at(total, (cells[:, TRUTH], cells[:, PREDICTED]), cells[:, PIXELS])
        return total

    def cells(self, view: str) -> NDArray[np.int32]:
        """Pixels by image, group, annotated and predicted class, (M, 5): `weakclip.ops.cells`."""
        wanted = list(self.views).index(view)
        parts = []
        for index in range(self._images):
            cells = self._rows[index][0]
            mine = cells[cells[:, 0] == wanted, 1:]
            mine[:, IMAGE] = index
            parts.append(mine)
        return np.concatenate(parts)

    def _open(self) -> None:
        content, place = self.path.read_bytes(), 0
        while place + _HEAD.size <= len(content):
            index, cells, checksum = _HEAD.unpack_from(content, place)
            end = place + _HEAD.size + 4 * (6 * cells + 3 * self._classes)
            body = content[place + _HEAD.size : end]
            if end > len(content) or zlib.crc32(body) != checksum or index >= self._images:
                break
            numbers = np.frombuffer(body, dtype="<i4")
            self._rows[index] = (
                numbers[: 6 * cells].reshape(-1, 6), numbers[6 * cells :].reshape(-1, 3),
            )  # fmt: skip
            place = end
        if place < len(content):
            with self.path.open("r+b") as file:
                file.truncate(place)


def _row(index: int, cells: NDArray[np.int32], boundary: NDArray[np.int32]) -> bytes:
    body = cells.astype("<i4").tobytes() + boundary.astype("<i4").tobytes()
    return _HEAD.pack(index, len(cells), zlib.crc32(body)) + body


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders, if they exist."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
