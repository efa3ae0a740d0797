"""Training batches from any number of images on disk, with bounded memory.

Every image has a few fixed views (the whole image, its mirror image, random framings), so their
frozen features can be kept: in memory up to a number of bytes, or in a `ViewBank` on disk that all
processes and all rows of a study share. The batches do not depend on where the features are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.crf.dense import build_lattices
from weakclip.training.bank import Encoded, ViewBank
from weakclip.training.execution import REFERENCE
from weakclip.training.losses import images_on_grid
from weakclip.training.parallel import ALONE
from weakclip.training.recipe import Batch
from weakclip.training.views import Framing, draw_view, normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import Features, ImageTower
    from weakclip.crf.dense import CRFConfig, Lattices
    from weakclip.training.execution import Execution
    from weakclip.training.parallel import Processes

BUDGET = 2 << 30  # bytes of views and lattices kept in memory
STATISTICS_IMAGES = 1024  # enough for the channel means
_CHUNK = 16  # views encoded at a time for the statistics
_BANK_CHUNK = 64  # views encoded at a time for a bank

Seeded = tuple["Tensor", "Tensor"]
"""An image, (3, H, W), uint8, and its seed labels, (H, W), int64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSpec:
    """The views of the images, and how batches are drawn from them."""

    framing: Framing
    views: int
    grid: int
    """Side of the loss grid in pixels."""
    crf: CRFConfig | None
    """CRF of the boundary loss, for its lattices; None if there is no such loss."""
    batch_size: int
    seed: int
    """Seed of the image order and of the view that each step uses."""
    view_seed: int = 0
    """Seed of the random framings, the same for all seeds of a study."""
    execution: Execution = REFERENCE
    """Precision of the frozen tower; features are kept in float32."""


class ViewStream:
    """Training batches that depend on (seed, step) alone."""

    def __init__(
        self,
        read: Callable[[int], Seeded],
        count: int,
        spec: ViewSpec,
        clip: CLIPBundle,
        tower: ImageTower,
        *,
        bank: Path | None = None,
        budget: int = BUDGET,
        processes: Processes = ALONE,
    ) -> None:
        """Draw from images that `read` returns one by one.

        Args:
            read: Returns image and seeds of a position in 0..count - 1.
            count: Number of images, at least 1.
            spec: The views.
            clip: The frozen CLIP, for its normalisation.
            tower: Its image tower with the taps of the model.
            bank: Folder for all views, named by what they depend on; made if it does not exist.
                None: views are kept in memory.
            budget: Bytes to keep in memory: lattices, and views if there is no bank.
            processes: The processes that share the batches; each gets its rows of every batch.

        Raises:
            ValueError: If a batch cannot be divided equally.
        """
        processes.check_batch(spec.batch_size)
        self._processes = processes
        self._read, self._count, self._spec = read, count, spec
        self._clip, self._tower, self._budget = clip, tower, budget
        self._kept: dict[int, Encoded] = {}
        self._lattices: dict[int, Lattices] = {}
        self._bank: ViewBank | None = None
        if bank is not None:
            self._bank = ViewBank.ensure(bank, self._all_views, processes)

    def __call__(self, step: int) -> Batch:
        """This process's share of the batch of a step, 0-based."""
        spec = self._spec
        rows = view_rows(self._count, spec.views, spec.batch_size, spec.seed, step)
        rows = list(self._processes.share(rows))
        views = self._views(rows)
        return Batch(
            features=views.features,
            seeds=views.seeds.long(),
            grid_images=views.grid,
            lattices=None if spec.crf is None else self._lattices_of(rows, views.grid, spec.crf),
        )

    def plain_features(self) -> Iterator[Features]:
        """Features of whole images, chosen evenly from the set, for statistics."""
        number = min(self._count, STATISTICS_IMAGES)
        chosen = [position * self._count // number for position in range(number)]
        for first in range(0, number, _CHUNK):
            rows = [position * self._spec.views for position in chosen[first : first + _CHUNK]]
            yield self._views(rows).features.to(self._device)

    @property
    def _device(self) -> torch.device:
        device: torch.device = self._tower.vision.proj.device
        return device

    def _all_views(self) -> Iterator[Encoded]:
        total = self._count * self._spec.views
        for first in range(0, total, _BANK_CHUNK):
            yield self._encode(range(first, min(first + _BANK_CHUNK, total)))

    def _views(self, rows: Sequence[int]) -> Encoded:
        if self._bank is not None:
            return self._bank[rows]
        missing = sorted({row for row in rows if row not in self._kept})
        made = dict(zip(missing, self._encode(missing), strict=True)) if missing else {}
        for row, view in made.items():
            if view.nbytes <= self._budget:
                self._budget -= view.nbytes
                self._kept[row] = view.copy()
        return Encoded.concatenate([made.get(row) or self._kept[row] for row in rows])

    def _encode(self, rows: Sequence[int]) -> Encoded:
        framed = [self._frame(row) for row in rows]
        pixels = torch.stack([image for image, _ in framed]).to(self._device)
        normal = normalise_images(pixels, self._clip.mean, self._clip.std)
        size = (self._spec.grid, self._spec.grid)
        grid = images_on_grid(normal, size, mean=self._clip.mean, std=self._clip.std)
        with self._spec.execution.autocast(self._device):
            features = self._tower(normal).to("cpu")
        seeds = torch.stack([labels for _, labels in framed]).to(torch.uint8)
        return Encoded(features, seeds, grid.cpu())

    def _lattices_of(self, rows: Sequence[int], grid: Tensor, crf: CRFConfig) -> list[Lattices]:
        missing = [place for place, row in enumerate(rows) if row not in self._lattices]
        if not missing:
            return [self._lattices[row] for row in rows]
        made = build_lattices(grid[missing].to(self._device), crf).to("cpu")
        fresh = {rows[place]: made[position] for position, place in enumerate(missing)}
        found = [fresh[row] if row in fresh else self._lattices[row] for row in rows]
        for row, lattices in fresh.items():
            if lattices.nbytes <= self._budget:
                self._budget -= lattices.nbytes
                self._lattices[row] = lattices
        return found

    def _frame(self, row: int) -> Seeded:
        position, view = divmod(row, self._spec.views)
        image, seeds = self._read(position)
        if view > 1:
            generator = np.random.default_rng([self._spec.view_seed, position, view])
            return draw_view(image, seeds, self._spec.framing, generator)
        image, seeds = centre_view(image, seeds, self._spec.framing.size)
        return (image.flip(2), seeds.flip(1)) if view else (image, seeds)


def centre_view(image: Tensor, seeds: Tensor, size: int) -> Seeded:
    """The central square of an image whose short side is resized to `size`.

    Args:
        image: (3, H, W), uint8.
        seeds: (H, W), int64, 255 = undecided.
        size: Side S of the view in pixels.

    Returns:
        View (3, S, S), uint8, and its seeds (S, S), int64.
    """
    short = min(image.shape[1:])
    height, width = (max(size, round(side * size / short)) for side in image.shape[1:])
    resized = F.interpolate(
        image[None].float(), (height, width), mode="bilinear", align_corners=False, antialias=True
    )[0]
    labels = F.interpolate(seeds[None, None].float(), (height, width), mode="nearest")[0, 0]
    top, left = (height - size) // 2, (width - size) // 2
    rows, columns = slice(top, top + size), slice(left, left + size)
    pixels = resized[:, rows, columns].round().clamp(0, 255).to(torch.uint8)
    return pixels, labels[rows, columns].long()


def view_rows(images: int, views: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Rows of a step's batch: every image once per epoch, in random order, with a random view.

    Args:
        images: Number of images.
        views: Views per image.
        batch_size: Rows per step.
        seed: Seed of order and views.
        step: Step, 0-based.

    Returns:
        `batch_size` rows; row = image x views + view.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    rows: list[int] = []
    for epoch in np.unique(positions // images).tolist():
        order = _epoch_rows(images, views, seed, epoch)
        inside = positions[positions // images == epoch] % images
        rows += order[inside].tolist()
    return rows


@lru_cache(maxsize=2)
def _epoch_rows(images: int, views: int, seed: int, epoch: int) -> NDArray[np.int64]:
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(images)
    return order * views + generator.integers(0, views, images)
