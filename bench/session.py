"""One study from request to report: plan, prepare, run, render."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.console import run_progress, say
from bench.errors import BenchError
from bench.plan import Plan, Request, plan_runs
from bench.pool import run_in_processes
from bench.provenance import collect
from bench.record import conditions_id
from bench.run import Finished, Job, run_here
from weakclip.checkpoints import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.store import Store
    from bench.workbench import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is the same for all studies of one command."""

    store: Store
    prepare: Callable[[], Workbench]
    """Picklable: each worker process calls it."""
    device: str
    workers: int
    command: str


def usable_cores() -> int:
    """Return the number of CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_study(session: Session, request: Request) -> tuple[Plan, list[Finished]]:
    """Carry out what is to do of a study.

    Raises:
        BenchError: If the data or weights are not usable, or existing records stand in the way.
    """
    first = plan_runs(request, session.store)  # refuse before anything expensive is made
    if not first.todo and request.on_existing == "keep":
        return first, []
    job, conditions = _job(session, request)
    if request.on_existing == "missing":
        request = replace(request, conditions=conditions)
    plan = plan_runs(request, session.store)
    for run in plan.todo:
        if run.reason != "new":
            say(f"{run.label}: {run.reason}; runs again")
    if not plan.todo:
        return plan, []
    workers = min(session.workers, len(plan.todo))
    say(f"{request.study.name}: {len(plan.todo)} runs, {workers} at a time")
    with run_progress(request.study.name, len(plan.todo)) as monitor:
        if workers == 1:
            return plan, run_here(job, plan.todo, monitor)
        return plan, run_in_processes(job, plan.todo, monitor, workers=workers)


def _job(session: Session, request: Request) -> tuple[Job, str]:
    """Prepare once, which makes what the workers share, and describe what all runs share."""
    try:
        workbench = session.prepare()
        protocol = _described(workbench.protocol)
        data, weights = _described(workbench.data), _described(workbench.weights)
    except (ValueError, OSError) as error:
        raise BenchError(f"preset {request.preset!r}: {error}") from error
    splits = protocol.get("splits")
    if not isinstance(splits, dict) or set(splits) != set(workbench.tasks):
        raise BenchError(
            f"protocol of preset {request.preset!r}: expected `splits` with the tasks "
            f"{workbench.tasks}, got {splits}"
        )
    provenance = collect(device=session.device, command=session.command, data=data, weights=weights)
    job = Job(
        study=request.study.name,
        preset=request.preset,
        prepare=session.prepare,
        root=session.store.root,
        protocol=protocol,
        provenance=provenance,
        threads=1 if session.device == "cpu" else None,
    )
    return job, conditions_id(protocol, data, weights)


def _described(values: Mapping[str, object]) -> dict[str, object]:
    described = describe(dict(values))
    assert isinstance(described, dict)
    return described
