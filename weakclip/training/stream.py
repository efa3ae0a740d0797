"""Training batches from images on disk: any number of images, a bounded amount of memory.

Every image has a few fixed views (the whole, its mirror image, random framings), so their frozen
features can be kept. They are, until a budget of bytes is used up; the rest is read and encoded
again when its turn comes. What a step sees does not depend on the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip.tower import Features, concatenate
from weakclip.crf.dense import build_lattices
from weakclip.training.execution import REFERENCE
from weakclip.training.losses import images_on_grid
from weakclip.training.parallel import ALONE
from weakclip.training.recipe import Batch
from weakclip.training.views import Framing, draw_view, normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import ImageTower
    from weakclip.crf.dense import CRFConfig, Lattices
    from weakclip.training.execution import Execution
    from weakclip.training.parallel import Processes

BUDGET = 2 << 30  # bytes of features that are kept
STATISTICS_IMAGES = 512  # enough for the mean of a channel
_CHUNK = 16  # views encoded at a time for the statistics

Seeded = tuple["Tensor", "Tensor"]
"""An image, (3, H, W) uint8, and its seed labels, (H, W) int64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSpec:
    """Which views there are and how batches are drawn from them."""

    framing: Framing
    views: int
    grid: int
    """Side of the loss grid in pixels."""
    crf: CRFConfig | None
    """CRF of the boundary loss, whose lattices come along; `None` if there is no such loss."""
    batch_size: int
    seed: int
    execution: Execution = REFERENCE
    """Its precision is that of the frozen tower; features are kept in float32."""


@dataclass(frozen=True, slots=True)
class _View:
    features: Features
    seeds: Tensor
    grid_image: Tensor
    lattices: Lattices | None


class ViewStream:
    """Training batches; what a step sees is a function of (seed, step) alone."""

    def __init__(
        self,
        read: Callable[[int], Seeded],
        count: int,
        spec: ViewSpec,
        clip: CLIPBundle,
        tower: ImageTower,
        *,
        budget: int = BUDGET,
        processes: Processes = ALONE,
    ) -> None:
        """Draw from images that `read` gives one by one.

        Args:
            read: Image and seeds of a position in 0..count - 1.
            count: Number of images, 1 or more.
            spec: The views.
            clip: The frozen CLIP, for its normalisation.
            tower: Its image tower with the taps of the model.
            budget: Bytes of views that are kept.
            processes: Who shares the batches; each gets its rows of every one.

        Raises:
            ValueError: If a batch cannot be shared equally.
        """
        processes.check_batch(spec.batch_size)
        self._processes = processes
        self._read, self._count, self._spec = read, count, spec
        self._clip, self._tower, self._budget = clip, tower, budget
        self._kept: dict[int, _View] = {}

    def __call__(self, step: int) -> Batch:
        """This process's share of the batch of a step, 0-based, on the CPU."""
        spec = self._spec
        rows = view_rows(self._count, spec.views, spec.batch_size, spec.seed, step)
        views = self._views(self._processes.share(rows))
        return Batch(
            features=concatenate([view.features for view in views]),
            seeds=torch.stack([view.seeds for view in views]).long(),
            grid_images=torch.stack([view.grid_image for view in views]),
            lattices=[view.lattices for view in views if view.lattices is not None] or None,
        )

    def plain_features(self) -> Iterator[Features]:
        """Features of whole images, spread evenly over the set, for statistics."""
        number = min(self._count, STATISTICS_IMAGES)
        chosen = [position * self._count // number for position in range(number)]
        for first in range(0, number, _CHUNK):
            rows = [position * self._spec.views for position in chosen[first : first + _CHUNK]]
            yield concatenate([view.features for view in self._views(rows)]).to(self._device)

    @property
    def _device(self) -> torch.device:
        device: torch.device = self._tower.vision.proj.device
        return device

    def _views(self, rows: Sequence[int]) -> list[_View]:
        missing = sorted({row for row in rows if row not in self._kept})
        made = dict(zip(missing, self._encode(missing), strict=True)) if missing else {}
        for row, view in made.items():
            size = _bytes(view)
            if size <= self._budget:
                self._budget -= size
                self._kept[row] = view
        return [made[row] if row in made else self._kept[row] for row in rows]

    def _encode(self, rows: Sequence[int]) -> list[_View]:
        framed = [self._frame(row) for row in rows]
        pixels = torch.stack([image for image, _ in framed]).to(self._device)
        normal = normalise_images(pixels, self._clip.mean, self._clip.std)
        size = (self._spec.grid, self._spec.grid)
        grid = images_on_grid(normal, size, mean=self._clip.mean, std=self._clip.std)
        with self._spec.execution.autocast(self._device):
            features = self._tower(normal).to("cpu")
        crf = self._spec.crf
        lattices = None if crf is None else build_lattices(grid, crf).to("cpu")
        return [
            _View(
                features=_copy(features, index),
                seeds=framed[index][1].to(torch.uint8),
                grid_image=grid[index].cpu(),
                lattices=None if lattices is None else lattices[index],
            )
            for index in range(len(rows))
        ]

    def _frame(self, row: int) -> Seeded:
        position, view = divmod(row, self._spec.views)
        image, seeds = self._read(position)
        if view > 1:
            generator = np.random.default_rng([self._spec.seed, position, view])
            return draw_view(image, seeds, self._spec.framing, generator)
        image, seeds = centre_view(image, seeds, self._spec.framing.size)
        return (image.flip(2), seeds.flip(1)) if view else (image, seeds)


def centre_view(image: Tensor, seeds: Tensor, size: int) -> Seeded:
    """The middle of an image whose short side is resized to `size`, a square.

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
    """Rows of a step's batch: every image once per epoch, in a new order, a random view each.

    Args:
        images: Number of images.
        views: Views per image.
        batch_size: Rows per step.
        seed: Of the order.
        step: 0-based.

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


def _copy(features: Features, index: int) -> Features:
    """One image's features, without the rest of its batch behind them."""
    one = features.select(slice(index, index + 1))
    return Features(
        taps=tuple(tap.clone() for tap in one.taps),
        global_embedding=one.global_embedding.clone(),
        dense_embedding=one.dense_embedding.clone(),
    )


def _bytes(view: _View) -> int:
    features = view.features
    tensors = (*features.taps, features.global_embedding, features.dense_embedding, view.seeds)
    lattices = 0 if view.lattices is None else view.lattices.nbytes
    return sum(tensor.nbytes for tensor in (*tensors, view.grid_image)) + lattices
