"""Class activation maps of a split, kept on disk, and what a refinement makes of them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.runs.lease import making
from bench.runs.provenance import code_id
from bench.tasks.split import tensors_sha256
from weakclip.network.checkpoints import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from weakclip.stages.protocols import (
        ImageStack,
        MaskerSpec,
        Refinement,
        RefinementSpec,
        Setting,
    )


CHUNK = 50  # images at a time


Sizes = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """Class activation maps of a split, and what making them took."""

    cams: Tensor
    """(N, F, h, w), float32."""
    seconds: float
    parameters: Sizes


def ensure_maps(
    spec: MaskerSpec,
    setting: Setting,
    data: ImageStack,
    *,
    seed: int,
    folder: Path,
    report: Callable[[int, int], None],
) -> Maps:
    """Fit a method on a split and keep its maps, or read what was kept.

    Args:
        spec: The method.
        setting: What it may know.
        data: Images and tags of the split.
        seed: Of its training.
        folder: Where maps are kept, each file named by a hash of all that they depend on, the
            source code included, and written whole or not at all.
        report: Called with (steps done, steps in all) as it trains.
    """
    digest = tensors_sha256(data.images, data.image_labels)
    parts = [describe(spec), seed, digest, setting.clip.sha256, code_id(), str(setting.device)]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    path = folder / f"maps-{key}.npz"
    if not path.exists():
        with making(path):
            if not path.exists():
                _write(path, make_maps(spec, setting, data, seed=seed, report=report))
    with np.load(path, allow_pickle=False) as kept:
        return Maps(
            cams=torch.from_numpy(kept["cams"]),
            seconds=float(kept["seconds"]),
            parameters=json.loads(str(kept["parameters"])),
        )


def make_maps(
    spec: MaskerSpec,
    setting: Setting,
    data: ImageStack,
    *,
    seed: int,
    report: Callable[[int, int], None],
) -> Maps:
    """Fit a method on a split and make its maps; see `ensure_maps`."""
    start = time.perf_counter()
    masker = spec.build(setting)
    masker.fit(data, seed=seed, report=report)
    parts = [
        masker.cams(images.to(setting.device), labels.to(setting.device)).cpu()
        for images, labels in zip(
            torch.split(data.images, CHUNK), torch.split(data.image_labels, CHUNK), strict=True
        )
    ]
    return Maps(
        cams=torch.cat(parts),
        seconds=time.perf_counter() - start,
        parameters=masker.parameter_counts(),
    )


def fit_refinement(
    spec: RefinementSpec,
    setting: Setting,
    data: ImageStack,
    cams: Tensor,
    *,
    seed: int,
    report: Callable[[int, int], None],
) -> tuple[Refinement, Sizes]:
    """Build a refinement, fit it on the maps of a split, and say what parameters it has."""
    refinement = spec.build(setting)
    refinement.fit(data, list(cams), seed=seed, report=report)
    return refinement, refinement.parameter_counts()


def refined_scores(
    refinement: Refinement, setting: Setting, data: ImageStack, cams: Tensor
) -> Iterator[Tensor]:
    """Class scores, (n, 1 + F, H, W), of some images after the other."""
    for start in range(0, len(data), CHUNK):
        rows = slice(start, start + CHUNK)
        batch = (data.images[rows], data.image_labels[rows], cams[rows])
        yield refinement.scores(*(part.to(setting.device) for part in batch)).cpu()


def _write(path: Path, maps: Maps) -> None:
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as file:
        np.savez(
            file,
            cams=maps.cams.numpy(),
            seconds=np.array(maps.seconds),
            parameters=np.array(json.dumps(maps.parameters)),
        )
    part.replace(path)
