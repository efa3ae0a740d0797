"""Pools of image-caption pairs on disk, from which micro-CLIP's pretraining draws its batches.

Drawing a scene takes as long as training on it, so each pool is drawn once, on all cores, and read
several times. A pool is a folder of three arrays: images (N, S, S, 3) uint8, token ids of each
caption and of its mirrored version (N, 2, C, L) uint8, and image-level labels (N, 20) bool.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from bench.cartoon.caption import flip_caption
from bench.cartoon.clip.captions import pretraining_caption, tokenizer
from bench.cartoon.sample import sample_scene
from bench.cartoon.tile import sample_tile
from bench.cartoon.world import WORLD_VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.cartoon.tile import Tile
    from bench.cartoon.world import Scene, WorldConfig

PoolKind: TypeAlias = Literal["tile", "scene"]

CAPTIONS = 3  # captions drawn per image; a batch takes one of them
_CHUNK = 512  # images drawn between two progress points of a worker


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """The contents of a pool; the hash of this value is part of the folder's name."""

    kind: PoolKind
    images: int
    size: int
    """Side of the stored images in pixels."""
    seed: int
    context_length: int
    world: WorldConfig

    @property
    def key(self) -> str:
        """First 12 hex digits of the SHA-256 of this value and the drawing code's version."""
        text = json.dumps([asdict(self), WORLD_VERSION], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Pool(NamedTuple):
    """The arrays of a pool, memory-mapped."""

    images: NDArray[np.uint8]
    tokens: NDArray[np.uint8]
    labels: NDArray[np.bool_]


def ensure_pool(root: Path, spec: PoolSpec, *, workers: int) -> Pool:
    """Open the pool of `spec` in `root`; draw it first if it does not exist.

    A pool is drawn into a temporary folder that is then renamed, so an existing pool is complete.
    With `workers` = 0 it is drawn in this process.
    """
    folder = root / f"pool-{spec.kind}-{spec.key}"
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part{os.getpid()}")
        part.mkdir(parents=True)
        try:
            _draw(part, spec, workers)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    names = ("images", "tokens", "labels")
    return Pool(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))


def _draw(folder: Path, spec: PoolSpec, workers: int) -> None:
    count, side = spec.images, spec.size
    shapes = {
        "images": ((count, side, side, 3), np.uint8),
        "tokens": ((count, 2, CAPTIONS, spec.context_length), np.uint8),
        "labels": ((count, 20), np.bool_),
    }
    for name, (shape, dtype) in shapes.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype=dtype, shape=shape).flush()
    chunks = [(folder, spec, start) for start in range(0, count, _CHUNK)]
    if workers == 0:
        for chunk in chunks:
            _draw_chunk(*chunk)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        for _ in executor.map(_draw_chunk, *zip(*chunks, strict=True)):
            pass


def _draw_chunk(folder: Path, spec: PoolSpec, start: int) -> None:
    images, tokens, labels = (
        np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ("images", "tokens", "labels")
    )
    tokenize = tokenizer(spec.context_length)
    for index in range(start, min(start + _CHUNK, spec.images)):
        pair: Tile | Scene = (
            sample_tile(spec.world, spec.seed, index, size=spec.size)
            if spec.kind == "tile"
            else sample_scene(spec.world, spec.seed, index)
        )
        images[index] = pair.image
        labels[index] = pair.image_labels()
        generator = np.random.default_rng([spec.seed, index, 1])
        texts = [pretraining_caption(pair, generator, spec.context_length) for _ in range(CAPTIONS)]
        tokens[index, 0] = tokenize(texts).numpy()
        tokens[index, 1] = tokenize([flip_caption(text) for text in texts]).numpy()
