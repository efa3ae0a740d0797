"""Pools of pretraining images and captions on disk: drawn once, read many times.

A pool is a folder of two arrays: images (N, S, S, 3) uint8, and token ids (N, C, L) uint16 of C
captions per image. There are no labels.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from bench.cartoon.caption import caption, tokenizer
from bench.cartoon.pretraining.web import sample_web, sample_web_tile
from bench.cartoon.world import WORLD_VERSION, WorldConfig

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WEB = WorldConfig(
    style_distance=0.0, single_scale=(0.22, 0.62), shared_scale=(0.12, 0.44), noise=(1.0, 6.0),
    typical_colour_rate=0.6, same_class_rate=0.6, person_rate=0.3, unnamed_objects=0.4,
    object_counts=(0.46, 0.22, 0.12, 0.07, 0.05, 0.04, 0.02, 0.02),
)  # fmt: skip
"""The settings of the pretraining images; the dials of CartoonVOC do not change them."""

CAPTIONS = 3
CONTEXT = 32
_CHUNK = 500
_CAPTION_STREAM = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """The contents of a pool; the hash of this value is part of the folder's name.

    Attributes:
        kind: Small crops or whole scenes.
        images: Number of images.
        size: Side in pixels.
        seed: Seed of the images; not one of CartoonVOC.
        world: Settings of the images.
    """

    kind: Literal["tile", "scene"]
    images: int
    size: int
    seed: int
    world: WorldConfig

    @property
    def key(self) -> str:
        """First 12 hex digits of the SHA-256 of this value and the drawing code's version."""
        text = json.dumps([asdict(self), WORLD_VERSION], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Pool(NamedTuple):
    """The arrays of a pool, memory-mapped."""

    images: NDArray[np.uint8]
    tokens: NDArray[np.uint16]


def ensure_pool(root: Path, spec: PoolSpec, *, workers: int) -> Pool:
    """Open the pool of `spec` in `root`; draw it first if it does not exist.

    A pool is drawn into a temporary folder that is then renamed, so an existing pool is complete.
    With `workers` = 0 it is drawn in this process.
    """
    folder = root / f"web-{spec.kind}-{spec.key}"
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part{os.getpid()}")
        part.mkdir(parents=True)
        try:
            _draw(part, spec, workers)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return Pool(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in Pool._fields))


def token_ids(text: str) -> list[int]:
    """Token ids of a caption, with start and end; the ids of each word are cached."""
    words = re.findall(r"[a-z]+|[.,]", text)
    start, *_, end = _word_ids("a")
    return [start, *(row for word in words for row in _word_ids(word)[1:-1]), end]


@cache
def _word_ids(word: str) -> tuple[int, ...]:
    row = tokenizer(CONTEXT)([word])[0]
    return tuple(int(x) for x in row[: int(row.argmax()) + 1])


def _draw(folder: Path, spec: PoolSpec, workers: int) -> None:
    count, side = spec.images, spec.size
    shapes = {
        "images": ((count, side, side, 3), np.uint8),
        "tokens": ((count, CAPTIONS, CONTEXT), np.uint16),
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
    images, tokens = (np.load(folder / f"{name}.npy", mmap_mode="r+") for name in Pool._fields)
    for index in range(start, min(start + _CHUNK, spec.images)):
        scene = (
            sample_web_tile(spec.world, spec.seed, index, size=spec.size)
            if spec.kind == "tile"
            else sample_web(spec.world, spec.seed, index)
        )
        images[index] = scene.image
        generator = np.random.default_rng([spec.seed, index, _CAPTION_STREAM])
        for row in range(CAPTIONS):
            ids = token_ids(caption(scene, generator))
            while len(ids) > CONTEXT:
                ids = token_ids(caption(scene, generator))
            tokens[index, row, : len(ids)] = ids
