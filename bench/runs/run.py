"""Carries out one run and makes its record.

A run that raises gets a record with `status=failed`, and the study continues. Results do not depend
on the number of concurrent runs: on a CPU every run has one thread.
"""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from bench.runs.provenance import determinism_flags, utc_now, without_paths
from bench.runs.record import Provenance, RunRecord, Scores, Status
from bench.runs.scores import score
from bench.runs.store import (
    BOUNDARY_SUFFIX,
    CONFUSION_SUFFIX,
    PackedRun,
    cells_name,
    groups_name,
    pack,
)
from bench.studies.slots import config_id, plain_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.runs.plan import PlannedRun
    from bench.runs.store import Array
    from bench.studies.workbench import Outcome, Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The parts that all runs of a study on one machine share."""

    study: str
    preset: str
    workbench: Workbench
    protocol: dict[str, object]
    provenance: Provenance
    masks: Path | None = None
    """Folder for the masks of all training images, by study, row and seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The result of a run, for the progress display."""

    run: PlannedRun
    status: Status
    error: str | None
    seconds: float
    headline: str
    details: str = ""
    """The traceback of a failed run, for the log only."""


class Monitor(Protocol):
    """Receives the progress of runs."""

    def stepped(self, run: PlannedRun, step: int, total: int) -> None:
        """Called when a run has done `step` of `total` training steps."""

    def finished(self, result: Finished) -> None:
        """Called when a run has ended."""


def carry_out(
    job: Job, run: PlannedRun, report: Callable[[int, int], None]
) -> tuple[PackedRun, str, Callable[[], None] | None]:
    """Train and score one run.

    Returns:
        The files of the run, the traceback if it raised, and a function, if any, to call once the
        record is written: it removes temporary files.
    """
    started = utc_now()
    try:
        outcome = job.workbench.run(run.variant.config, run.seed, report=report)
        packed = pack(_succeeded(job, run, started, outcome), _arrays(outcome))
        if job.masks is not None and outcome.write_masks is not None:
            outcome.write_masks(job.masks / job.study / f"{run.variant.name}-seed{run.seed}")
        return packed, "", outcome.discard
    except Exception as error:  # recorded, and the study goes on
        record = failed(job, run, started, f"{type(error).__name__}: {error}")
        return pack(record), traceback.format_exc(), None


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """On a CPU, use one thread in the block, however many runs there are at once."""
    threads = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def summary(run: PlannedRun, record: RunRecord, seconds: float, details: str = "") -> Finished:
    """Return the part of a record that is displayed."""
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


def _succeeded(job: Job, run: PlannedRun, started: str, outcome: Outcome) -> RunRecord:
    workbench = job.workbench
    measured = tuple(task for task in workbench.tasks if task in outcome.counts)
    if not measured or measured != tuple(outcome.counts):
        raise ValueError(
            f"outcome: expected counts of some of the tasks {workbench.tasks} in their order, got "
            f"{tuple(outcome.counts)}"
        )
    scored = {
        task: score(counts, outcome.boundary.get(task), workbench.class_names)
        for task, counts in outcome.counts.items()
    }
    metrics = {task: means for task, (means, _) in scored.items()}
    _add_extras(metrics, outcome.extras)
    base = _base(job, run, started, status="ok", error=None)
    learnt_from = {**base.provenance.data, **outcome.data}
    return replace(
        base,
        provenance=replace(base.provenance, data=learnt_from),
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
        schema_version=1,
        study=job.study,
        variant=run.variant.name,
        seed=run.seed,
        preset=job.preset,
        status=status,
        error=error,
        config=config,
        config_id=config_id(config),
        protocol=job.protocol,
        metrics={},
        per_class={},
        parameters={},
        seconds={},
        peak_memory_mib=None,
        curve=[],
        counts_sha256=None,
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


def _arrays(outcome: Outcome) -> dict[str, Array]:
    boundary = {task + BOUNDARY_SUFFIX: counts for task, counts in outcome.boundary.items()}
    confusion = {task + CONFUSION_SUFFIX: pixels for task, pixels in outcome.confusion.items()}
    cells = {
        cells_name(task, view): table
        for task, tables in outcome.cells.items()
        for view, table in tables.items()
    }
    groups = {
        groups_name(task, view): np.array(names)
        for task, views in outcome.groups.items()
        for view, names in views.items()
    }
    return {**outcome.counts, **boundary, **confusion, **cells, **groups}
