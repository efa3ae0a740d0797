"""Writes CartoonVOC in PASCAL VOC's layout; a data set is complete or absent.

Images are JPEGs of quality 95 without chroma subsampling (4:4:4), masks are palette PNGs with VOC's
void border. Labels that VOC does not have are in `CartoonVOC/`: stuff and part maps, instances,
captions, and `world.json` with the settings from which the data set was made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING

import cv2
import numpy as np
import PIL

from bench.cartoon.caption import caption
from bench.cartoon.layout import FOLDERS, SceneRecord, image_id, write_scene
from bench.cartoon.sample import sample_scene
from bench.cartoon.vocabulary import PARTS, STUFF
from bench.cartoon.world import WORLD_VERSION
from bench.errors import BenchError
from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.cartoon.world import WorldConfig

DEFAULT_SPLITS: Mapping[str, int] = {"train": 600, "val": 1500, "tune": 400}
"""Images per split; `tune` is for searches, so that nothing is chosen on a reported split."""

DEFAULT_SEED = 2012
"""Seed of the data set. Pretraining must use other seeds, so that it does not see these images."""

SPLIT_STARTS: Mapping[str, int] = {"train": 0, "val": 1_000_000, "tune": 2_000_000}
"""First scene index of each split: splits are disjoint and independent of each other's size."""

FORMAT = "CartoonVOC 2"
"""Name in `world.json` and in records; `docs/log.md` has results on the first version."""
CAPTIONS = 3
_CHUNK = 50
_CAPTION_STREAM = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Consecutive scenes of one split for one worker."""

    folder: Path
    config: WorldConfig
    seed: int
    split: str
    first: int
    count: int


def ensure_voc(
    root: Path,
    config: WorldConfig,
    *,
    seed: int = DEFAULT_SEED,
    splits: Mapping[str, int] = DEFAULT_SPLITS,
    workers: int = 1,
) -> None:
    """Make sure that `root` contains exactly this data set: reuse it, or build it.

    Raises:
        BenchError: If `root` contains something else. It is never overwritten.
        ValueError: If a split is unknown or a number is out of range.
    """
    if not _is_built(root):
        write_voc(root, config, seed=seed, splits=splits, workers=workers)
        return
    _check_same(root, _request(config, seed, splits))


def write_voc(
    root: Path,
    config: WorldConfig,
    *,
    seed: int = DEFAULT_SEED,
    splits: Mapping[str, int] = DEFAULT_SPLITS,
    workers: int = 1,
) -> None:
    """Build the data set in a temporary sibling folder, then rename it to `root`.

    The bytes do not depend on `workers`. If building is interrupted, `root` is not created.

    Args:
        root: Target folder; must not exist, or be empty.
        config: Size and difficulty of the data set.
        seed: Seed of the data set, not negative.
        splits: Number of images of `train`, `val`, `tune`.
        workers: Number of processes; 1 works in this one.

    Raises:
        BenchError: If `root` exists and is not empty.
        ValueError: If a split is unknown or a number is out of range.
    """
    request = _request(config, seed, splits)
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    if _is_built(root):
        raise BenchError(f"{root} is not empty; choose another folder or remove this one")
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = root.parent / f".{root.name}.building-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed process with the same id
    try:
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        jobs = [
            _Job(folder=folder, config=config, seed=seed, split=split, first=first, count=count)
            for split, total in splits.items()
            for first in range(0, total, _CHUNK)
            if (count := min(_CHUNK, total - first))
        ]
        _write_lists(folder, splits)
        _write_side_files(folder, request, _run(jobs, workers))
        try:
            folder.rename(root)
        except OSError:
            if not _is_built(root):
                raise
            _check_same(root, request)  # another process has built it
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _request(config: WorldConfig, seed: int, splits: Mapping[str, int]) -> dict[str, object]:
    """The settings from which a data set is made, as read back from JSON."""
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    for split, count in splits.items():
        if split not in SPLIT_STARTS:
            raise ValueError(f"unknown split {split!r}. Known: {', '.join(SPLIT_STARTS)}")
        if not 1 <= count <= 1_000_000:
            raise ValueError(f"split {split}: expected 1 to 1000000 images, got {count}")
    if not splits:
        raise ValueError(f"splits: expected at least one of {', '.join(SPLIT_STARTS)}, got none")
    made_from = {
        "format": FORMAT,
        "world_version": WORLD_VERSION,
        "seed": seed,
        "splits": dict(splits),
        "config": asdict(config),
    }
    request: dict[str, object] = json.loads(json.dumps(made_from))
    return request


def _is_built(root: Path) -> bool:
    return root.exists() and (not root.is_dir() or any(root.iterdir()))


def _check_same(root: Path, request: Mapping[str, object]) -> None:
    try:
        found = json.loads((root / "CartoonVOC" / "world.json").read_text(encoding="utf-8"))
        differing = [key for key in request if found.get(key) != request[key]]
    except (OSError, ValueError, AttributeError) as error:
        raise BenchError(
            f"{root} exists and is no CartoonVOC; choose another folder or remove this one"
        ) from error
    if differing:
        key = differing[0]
        raise BenchError(
            f"{root} holds another CartoonVOC: {', '.join(differing)} differ "
            f"({key}: wanted {request[key]}, there is {found.get(key)}); "
            "choose another folder or remove this one"
        )


def _run(jobs: list[_Job], workers: int) -> list[SceneRecord]:
    if workers == 1:
        return [written for job in jobs for written in _write_scenes(job)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        try:
            return [written for done in executor.map(_write_scenes, jobs) for written in done]
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _write_scenes(job: _Job) -> list[SceneRecord]:
    start = SPLIT_STARTS[job.split]
    written = []
    for number in range(job.first, job.first + job.count):
        rng = np.random.default_rng([job.seed, start + number, _CAPTION_STREAM])
        scene = sample_scene(job.config, job.seed, start + number, train=job.split == "train")
        sentences = [caption(scene, rng) for _ in range(CAPTIONS)]
        name = image_id(job.split, number)
        written.append(write_scene(job.folder, name, scene, sentences))
    return written


def _write_lists(folder: Path, splits: Mapping[str, int]) -> None:
    for split, count in splits.items():
        lines = "".join(f"{image_id(split, number)}\n" for number in range(count))
        for kind in ("Segmentation", "Main"):
            path = folder / "ImageSets" / kind / f"{split}.txt"
            path.write_text(lines, encoding="utf-8")


def _write_side_files(
    folder: Path, request: Mapping[str, object], records: list[SceneRecord]
) -> None:
    records = sorted(records)  # by image id: the hash must not depend on the order of splits
    side = folder / "CartoonVOC"
    for name in ("captions", "instances"):
        lines = "".join(f"{getattr(record, name)}\n" for record in records)
        (side / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    digests = "".join(f"{record.image_id} {record.digest}\n" for record in records)
    world = {
        **request,
        "content_sha256": hashlib.sha256(digests.encode()).hexdigest(),
        "classes": list(VOC_CLASSES),
        "stuff": list(STUFF),
        "parts": list(PARTS),
        "made_with": {
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "pillow": PIL.__version__,
        },
    }
    text = json.dumps(world, indent=2) + "\n"
    (side / "world.json").write_text(text, encoding="utf-8")
