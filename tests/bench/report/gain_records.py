"""Records of the two studies that the steps from the seeds to the masks are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ablations.components import STUDY as COMPONENTS
from ablations.seeds import STUDY as START
from bench.runs.scores import score
from bench.studies.slots import config_id, plain_config
from tests.bench.records import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.runs.store import Store
    from bench.studies.study import Study

TASKS = ("train-pseudo", "train-pseudo-crf", "val-network")
IMAGES, CLASSES = 40, ("background", "cat")


def counts(quality: float, noise: int) -> NDArray[np.int64]:
    """Counts (N, K, 3) of masks that find about a share `quality` of 100 pixels of each class."""
    generator = np.random.default_rng(noise)
    found = np.clip(quality + generator.normal(0, 0.02, (IMAGES, len(CLASSES))), 0, 1)
    right = np.round(100 * found).astype(np.int64)
    whole = np.full_like(right, 100)
    return np.stack([right, whole, whole], axis=-1)


def write(store: Store, scores: Mapping[str, float], *, preset: str = "cartoon") -> None:
    """Write three seeds of both studies.

    Args:
        store: Where to.
        scores: Row -> share of the pixels found before the CRF, which adds 0.05.
        preset: Of the records of the components.
    """
    for study in (COMPONENTS, START):
        rows = [row for row in study.rows if row.name in scores]
        for number, row in enumerate(rows):
            for seed in range(3):
                _write(store, study, row.name, seed, scores[row.name], 10 * number + seed, preset)


def _write(
    store: Store,
    study: Study,
    variant: str,
    seed: int,
    quality: float,
    noise: int,
    preset: str,
) -> None:
    row = next(row for row in study.rows if row.name == variant)
    config = plain_config(row.config)
    tasks = TASKS if study is COMPONENTS else TASKS[:2]
    arrays = {
        task: counts(quality + 0.05 * task.endswith("-crf"), noise + 100 * place)
        for place, task in enumerate(tasks)
    }
    arrays |= {f"{task}.boundary": arrays[task] // 2 for task in tasks}
    scored = {task: score(arrays[task], arrays[f"{task}.boundary"], CLASSES) for task in tasks}
    record = replace(
        RECORD,
        study=study.name, variant=variant, seed=seed, config=config, config_id=config_id(config),
        protocol={"main_tasks": ["train-pseudo", "val-network"]},
        metrics={task: means for task, (means, _) in scored.items()},
        per_class={task: classes for task, (_, classes) in scored.items()},
        preset=preset if study is COMPONENTS else "cartoon",
    )  # fmt: skip
    store.write(record, arrays)
