"""A workbench without images: counts follow from the configuration and the seed in microseconds."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import unknown
from bench.runs.plan import Request, plan_runs
from bench.runs.record import CONTENT
from bench.runs.run import carry_out
from bench.runs.site import Site, job_of, set_up
from bench.studies.slots import COMPONENTS, OFF_KINDS, config_id, plain_config
from bench.studies.study import Series, Study, Variant
from bench.studies.workbench import Outcome
from weakclip.config import CoAttention, Cosine, PlainDecoder, Resample, WeakCLIPConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.runs.run import Job
    from bench.runs.store import Store
    from bench.studies.workbench import Config, Counts

TASKS = ("pseudo-mask-train", "network-val")
CLASSES = ("background", "cat", "dog")
IMAGES = 12

FULL = WeakCLIPConfig()
STUDY = Study(
    name="fake",
    question="Does the harness work?",
    reference=Variant(name="full", config=FULL),
    variants=(
        Variant(name="no-adapter", config=WeakCLIPConfig(adapter=Resample())),
        Variant(name="no-matching", config=WeakCLIPConfig(matching=Cosine())),
        Variant(name="shallow", config=WeakCLIPConfig(matching=CoAttention(depth=1))),
        Variant(
            name="baseline",
            config=WeakCLIPConfig(adapter=Resample(), matching=Cosine(), decoder=PlainDecoder()),
        ),
    ),
    seeds=(0, 1),
    series=(Series(name="depth", label="layers", path="matching.depth"),),
)


class FakeWorkbench:
    """Each component that is on adds to the share of pixels that are right."""

    def __init__(
        self,
        fail: str = "",
        marker: Path | None = None,
        version: int = 1,
        log: Path | None = None,
        pause: float = 0.0,
        content: str | None = None,
    ) -> None:
        self.fail, self.marker, self.version = fail, marker, version
        self.content = content
        self.log, self.pause = log, pause

    tasks = TASKS
    class_names = CLASSES

    @property
    def protocol(self) -> Mapping[str, object]:
        splits = {"pseudo-mask-train": "train", "network-val": "val"}
        return {"splits": splits, "tags_used": True, "scales": (1.0,), "version": self.version}

    @property
    def data(self) -> Mapping[str, object]:
        data = {"name": "Fake", "images": {"train": IMAGES, "val": IMAGES}}
        return data if self.content is None else {**data, CONTENT: {"train": self.content}}

    @property
    def weights(self) -> Mapping[str, object]:
        return {"id": "none", "sha256": "0" * 64}

    def run(self, config: Config, seed: int, *, report: Callable[[int, int], None]) -> Outcome:
        assert isinstance(config, WeakCLIPConfig)
        for step in range(3):
            time.sleep(self.pause)
            report(step + 1, 3)
        self._fail_if_asked(config, seed)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{config_id(plain_config(config))} {seed}\n")
        on = sum(not isinstance(getattr(config, slot), OFF_KINDS) for slot in COMPONENTS)
        counts = {task: _counts(0.4 + 0.1 * on, seed, k) for k, task in enumerate(TASKS)}
        return Outcome(
            counts=counts,
            boundary={TASKS[0]: counts[TASKS[0]] // 2},
            confusion={task: _confusion(each) for task, each in counts.items()},
            parameters={"decoder": {"total": 1000, "trainable": 500 * on}},
            seconds={"train": 0.25, "infer": 0.5},
            curve=[{"step": 1.0, "loss": float("inf")}, {"step": 2.0, "loss": 0.5}],
            extras={f"{TASKS[0]}/oracle_miou": 0.9},
        )

    def _fail_if_asked(self, config: WeakCLIPConfig, seed: int) -> None:
        if isinstance(config.adapter, PYRAMID) or isinstance(config.matching, Cosine):
            return  # only the row `no-adapter`
        if self.fail == "raise" and seed == 0:
            raise RuntimeError("no such file: /home/someone/secret.txt")
        if self.fail == "interrupt":
            raise KeyboardInterrupt
        if self.fail == "die" and self.marker is not None and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


PYRAMID = type(FULL.adapter)


def job(fail: str = "") -> Job:
    """A job on the fake workbench, as `bench.runs.site` makes it."""
    return job_of(set_up(site(fail), "cartoon"), study=STUDY.name, device="cpu", command="test")


def site(fail: str = "", marker: Path | None = None) -> Site:
    """A machine with the fake workbench."""
    return Site(prepare=partial(_prepare, fail, marker), load=load, device="cpu", code="code")


def load(name: str) -> Study:
    """Stands in for `bench.studies.study.load_study`."""
    if name != STUDY.name:
        raise unknown("study", name, [STUDY.name])
    return STUDY


def make_records(store: Store, seeds: Sequence[int], study: Study = STUDY) -> None:
    """Carry out a study without a queue."""
    request = Request(study=study, variants=study.rows, seeds=tuple(seeds), preset="cartoon")
    shared = job()
    for run in plan_runs(request, store).todo:
        store.put(carry_out(shared, run, lambda _step, _total: None)[0])


def _prepare(fail: str, marker: Path | None, preset: str) -> FakeWorkbench:
    assert preset
    return FakeWorkbench(fail, marker)


def prepare(
    preset: str,
    *,
    data_root: Path | None,
    device: str,
    artifacts: Path,
    weights: Path | None = None,
    stages: Path | None = None,
    precision: str = "float32",
    fail: str = "",
    log: Path | None = None,
    pause: float = 0.0,
) -> FakeWorkbench:
    """Stands in for `bench.tasks.task.prepare`."""
    assert precision == "float32"
    if data_root is not None:
        raise ValueError(f"data root: expected VOC layout, got {data_root.name}")
    return FakeWorkbench(fail, log=log, pause=pause)


def _confusion(counts: Counts) -> Counts:
    """A matrix with these counts, (N, K, 3), on its diagonal; the rest is the next class's."""
    right, _, annotated = counts.sum(axis=0).T
    wrong = np.roll(np.diag(annotated - right), 1, axis=1)
    return np.pad(np.diag(right) + wrong, ((0, 0), (0, 1)))


def _counts(quality: float, seed: int, task: int) -> Counts:
    """Counts of IMAGES images of 100 pixels per class; noise of images is shared by all runs."""
    images = np.random.default_rng(task).normal(0, 0.02, (IMAGES, len(CLASSES)))
    seeds = np.random.default_rng(1000 + seed).normal(0, 0.005)
    right = np.round(100 * np.clip(quality + images + seeds, 0, 1)).astype(np.int64)
    annotated = np.full_like(right, 100)
    return np.stack([right, annotated, annotated], axis=-1)


def quiet(done: int, total: int) -> None:
    """Report nothing of a training."""
