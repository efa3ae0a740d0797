"""Frozen features of fixed training views, computed once and shared by every variant of a study.

All variants see the same frozen CLIP, so running its image tower in every step of every run would
repeat one computation dozens of times. A bank holds a few views of each image: the image itself,
its mirror image and random framings; a run then draws which views make up each batch. The arrays
are memory-mapped, so the worker processes of a study share one copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.runs.lease import making
from weakclip.clip.tower import Features, concatenate
from weakclip.crf.dense import build_lattices
from weakclip.training.losses import images_on_grid
from weakclip.training.recipe import Batch
from weakclip.training.stream import view_rows
from weakclip.training.views import Framing, draw_view, normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import ImageTower
    from weakclip.crf.dense import CRFConfig, Lattices

_CHUNK = 64  # views encoded at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class BankSpec:
    """What a bank was made from; its hash names the folder."""

    images_sha256: str
    """Of the pixels and seeds of all images."""
    clip_sha256: str
    taps: tuple[int, ...]
    class_token: str
    grid: int
    views: int
    """Views per image; view 0 is the image itself, view 1 its mirror image."""
    framing: Framing
    seed: int

    @property
    def key(self) -> str:
        """First 12 hex digits of the SHA-256 of this value."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


class Bank:
    """Views of N images: features, seeds and images on the loss grid, by (image, view)."""

    def __init__(self, folder: Path, views: int, device: torch.device) -> None:
        """Memory-map the arrays in `folder`."""
        self.views, self.device = views, device
        self.key = folder.name
        """Hash of what the bank was made from."""
        self._arrays: dict[str, NDArray[np.generic]] = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in ("taps", "global", "dense", "seeds", "grid", "statistics")
        }
        self._statistics = torch.from_numpy(np.array(self._arrays["statistics"])).to(device)
        self._lattices: dict[tuple[int, CRFConfig], Lattices] = {}

    def __len__(self) -> int:
        return len(self._arrays["seeds"]) // self.views

    def features(self, rows: Sequence[int]) -> Features:
        """Features of some rows; row = image x views + view."""
        taps = self._tensor("taps", rows)
        return self.standardise(
            Features(
                taps=tuple(taps[:, level] for level in range(taps.shape[1])),
                global_embedding=self._tensor("global", rows),
                dense_embedding=self._tensor("dense", rows),
            )
        )

    def plain(self) -> Features:
        """Features of the images as they are, one per image."""
        return self.features(range(0, len(self) * self.views, self.views))

    def standardise(self, features: Features) -> Features:
        """Bring every tap channel to mean 0 and deviation 1 over the training images.

        The taps of a small tower have channels whose mean is several times their deviation; a
        decoder without norms hardly trains on them (`docs/log.md`). The statistics are those of
        the plain training views, need no labels and are the same for every variant.
        """
        mean, deviation = self._statistics[..., None, None]
        return replace(
            features,
            taps=tuple(
                (tap - mean[level]) / deviation[level] for level, tap in enumerate(features.taps)
            ),
        )

    def batch(self, rows: Sequence[int], crf: CRFConfig | None) -> Batch:
        """A training batch; with `crf`, its lattices come along and are kept for the next time."""
        grid = self._tensor("grid", rows)
        lattices = None
        if crf is not None:
            missing = [i for i, row in enumerate(rows) if (row, crf) not in self._lattices]
            if missing:
                built = build_lattices(grid[missing], crf)
                for position, i in enumerate(missing):
                    self._lattices[rows[i], crf] = built[position]
            lattices = [self._lattices[row, crf] for row in rows]
        return Batch(self.features(rows), self._tensor("seeds", rows).long(), grid, lattices)

    def _tensor(self, name: str, rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._arrays[name][list(rows)]).to(self.device)


class BankBatches:
    """Which views each step sees: a function of (seed, step) alone."""

    def __init__(self, bank: Bank, *, batch_size: int, seed: int, crf: CRFConfig | None) -> None:
        """Draw from `bank`; with `crf`, batches carry lattices."""
        self._bank, self._size, self._seed, self._crf = bank, batch_size, seed, crf

    def __call__(self, step: int) -> Batch:
        """The batch of a step."""
        rows = view_rows(len(self._bank), self._bank.views, self._size, self._seed, step)
        return self._bank.batch(rows, self._crf)


def ensure_bank(
    root: Path,
    spec: BankSpec,
    images: Tensor,
    seeds: Tensor,
    clip: CLIPBundle,
    tower: ImageTower,
) -> Bank:
    """Open the bank of `spec` below `root`, computing it first if it is not there.

    Args:
        root: Folder of intermediate products.
        spec: What the bank is made from.
        images: (N, 3, H, W), uint8.
        seeds: Seed labels, (N, H, W), uint8.
        clip: The frozen CLIP, for its normalisation.
        tower: Its image tower with the taps of `spec`.

    A bank is written into a temporary sibling and renamed, so a folder that exists is whole.
    """
    folder = root / f"bank-{spec.key}"
    if not folder.exists():
        with making(folder):
            if not folder.exists():
                _make(folder, lambda part: _compute(part, spec, images, seeds, clip, tower))
    return Bank(folder, spec.views, tower.vision.proj.device)


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a temporary sibling of `folder`, then rename it."""
    part = folder.with_name(f"{folder.name}.part{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        fill(part)
        part.rename(folder)
    except OSError:
        if not folder.exists():  # where locks do not hold, another process may have finished first
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _compute(
    folder: Path,
    spec: BankSpec,
    images: Tensor,
    seeds: Tensor,
    clip: CLIPBundle,
    tower: ImageTower,
) -> None:
    views = [
        draw_row(images[i], seeds[i], i * spec.views + view, spec)
        for i in range(len(images))
        for view in range(spec.views)
    ]
    pixels = torch.stack([pair[0] for pair in views])
    labels = torch.stack([pair[1] for pair in views])
    np.save(folder / "seeds.npy", labels.numpy().astype(np.uint8))
    parts, grids = [], []
    for chunk in torch.split(pixels, _CHUNK):
        normal = normalise_images(chunk.to(tower.vision.proj.device), clip.mean, clip.std)
        parts.append(tower(normal).to("cpu"))
        size = (spec.grid, spec.grid)
        grids.append(images_on_grid(normal, size, mean=clip.mean, std=clip.std).cpu())
    features = concatenate(parts)
    taps = torch.stack(features.taps, dim=1)  # (N x views, 4, D, h, w)
    plain = taps[:: spec.views]
    deviation, mean = torch.std_mean(plain, dim=(0, 3, 4))
    np.save(folder / "statistics.npy", torch.stack([mean, deviation.clamp(min=1e-6)]).numpy())
    np.save(folder / "taps.npy", taps.numpy())
    np.save(folder / "global.npy", features.global_embedding.numpy())
    np.save(folder / "dense.npy", features.dense_embedding.numpy())
    np.save(folder / "grid.npy", torch.cat(grids).numpy())


def draw_row(image: Tensor, seeds: Tensor, row: int, spec: BankSpec) -> tuple[Tensor, Tensor]:
    """One view of an image, (3, S, S) uint8, and its seeds, (S, S) uint8.

    Args:
        image: (3, H, W), uint8.
        seeds: Seed labels, (H, W), uint8.
        row: Position of the image x views + view.
        spec: Number, framing and seed of the views.
    """
    position, view = divmod(row, spec.views)
    if view == 0:
        return image, seeds
    if view == 1:
        return image.flip(2), seeds.flip(1)
    generator = np.random.default_rng([spec.seed, position, view])
    pixels, labels = draw_view(image, seeds.long(), spec.framing, generator)
    return pixels, labels.to(torch.uint8)
