"""Carries out planned runs: one record per run, whatever happens in it.

A run that raises becomes a record with `status=failed` and the study goes on. Nothing a run
measures depends on how many run at once: on a CPU each has one thread, always.
"""

from __future__ import annotations

import logging
import time
import traceback
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch

from bench.provenance import determinism_flags, utc_now, without_paths
from bench.record import Provenance, RunRecord, Scores, Status
from bench.scores import score
from bench.slots import config_id, plain_config
from bench.store import BOUNDARY_SUFFIX, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.plan import PlannedRun
    from bench.workbench import Counts, Outcome, Workbench

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all runs of a study share; goes to worker processes as it is."""

    study: str
    preset: str
    prepare: Callable[[], Workbench]
    """Cheap when called again: expensive products are kept on disk."""
    root: Path
    protocol: dict[str, object]
    provenance: Provenance
    threads: int | None
    """CPU threads per run; none leaves the default (on a GPU)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What the progress display says about a run that ended."""

    run: PlannedRun
    status: Status
    error: str | None
    seconds: float
    headline: str
    details: str = ""
    """The traceback of a failed run, for the log only."""


class Monitor(Protocol):
    """What is told about progress; `slot` is the worker's number, from 0."""

    def stepped(self, slot: int, run: PlannedRun, step: int, total: int) -> None:
        """A run went on."""

    def finished(self, slot: int, result: Finished) -> None:
        """A run ended; its record is on disk."""


def run_here(job: Job, runs: Sequence[PlannedRun], monitor: Monitor) -> list[Finished]:
    """Carry out runs one after the other in this process."""
    threads = torch.get_num_threads()
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    runner = Runner(job)
    results = []
    try:
        for run in runs:
            result = runner.carry_out(run, partial(monitor.stepped, 0, run))
            monitor.finished(0, result)
            results.append(result)
    finally:
        torch.set_num_threads(threads)
    return results


class Runner:
    """Carries out runs of one job; prepares its workbench on the first."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.store = Store(job.root)
        self._workbench: Workbench | None = None

    def carry_out(self, run: PlannedRun, report: Callable[[int, int], None]) -> Finished:
        """Run, score and write the record of one planned run; an exception is recorded."""
        started, clock = utc_now(), time.perf_counter()
        details, counts = "", None
        try:
            if self._workbench is None:
                self._workbench = self.job.prepare()
            outcome = self._workbench.run(run.variant.config, run.seed, report=report)
            record = _succeeded(self.job, run, started, outcome, self._workbench)
            counts = _arrays(outcome)
        except Exception as error:  # recorded, and the study goes on
            record = failed(self.job, run, started, f"{type(error).__name__}: {error}")
            details = traceback.format_exc()
        self.store.write(record, counts)
        return summary(run, record, time.perf_counter() - clock, details)


def summary(run: PlannedRun, record: RunRecord, seconds: float, details: str = "") -> Finished:
    """Return what is shown of a record."""
    scores = [f"{task} {100 * values['miou']:.1f}" for task, values in record.metrics.items()]
    return Finished(
        run=run,
        status=record.status,
        error=record.error,
        seconds=seconds,
        headline=" · ".join(scores),
        details=details,
    )


def failed(job: Job, run: PlannedRun, started: str, problem: str) -> RunRecord:
    """Return the record of a run that raised or whose process died."""
    lines = problem.strip().splitlines() or [""]
    return _base(job, run, started, status="failed", error=without_paths(lines[0]))


def _succeeded(
    job: Job, run: PlannedRun, started: str, outcome: Outcome, workbench: Workbench
) -> RunRecord:
    if tuple(outcome.counts) != tuple(workbench.tasks):
        raise ValueError(
            f"outcome: expected counts of the tasks {workbench.tasks}, got {tuple(outcome.counts)}"
        )
    scored = {
        task: score(counts, outcome.boundary.get(task), workbench.class_names)
        for task, counts in outcome.counts.items()
    }
    metrics = {task: means for task, (means, _) in scored.items()}
    _add_extras(metrics, outcome.extras)
    return replace(
        _base(job, run, started, status="ok", error=None),
        metrics=metrics,
        per_class={task: classes for task, (_, classes) in scored.items()},
        parameters=outcome.parameters,
        seconds=outcome.seconds,
        curve=outcome.curve,
        peak_memory_mib=outcome.peak_memory_mib,
    )


def _base(
    job: Job, run: PlannedRun, started: str, *, status: Status, error: str | None
) -> RunRecord:
    config = plain_config(run.variant.config)
    return RunRecord(
        study=job.study,
        variant=run.variant.name,
        seed=run.seed,
        preset=job.preset,
        status=status,
        error=error,
        config=config,
        config_id=config_id(config),
        protocol=job.protocol,
        provenance=replace(job.provenance, started_utc=started, determinism=determinism_flags()),
    )


def _add_extras(metrics: dict[str, Scores], extras: dict[str, float]) -> None:
    for key, value in extras.items():
        task, _, metric = key.rpartition("/")
        if task not in metrics or metric in metrics[task]:
            raise ValueError(
                f"extra {key!r}: expected '<task>/<new metric>' with a task of {sorted(metrics)}"
            )
        metrics[task][metric] = value


def _arrays(outcome: Outcome) -> dict[str, Counts]:
    boundary = {task + BOUNDARY_SUFFIX: counts for task, counts in outcome.boundary.items()}
    return {**outcome.counts, **boundary}
