"""Runs one study: plans it, and carries out the missing runs here or through a queue.

A command with one worker carries out its runs here and writes each record at once. Several
processes or machines share a queue; see `bench.runs.orders`.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bench.console import say
from bench.runs.console import run_progress
from bench.runs.plan import INHERITED, OTHER_CODE, Plan, Request, inherited_runs, plan_runs
from bench.runs.provenance import commit
from bench.runs.run import Finished, carry_out, one_thread, summary
from bench.runs.site import Execution, job_of, set_up
from bench.runs.store import Likeness
from bench.studies.slots import config_id, plain_config
from weakclip.data.artifacts import FileLock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.plan import PlannedRun
    from bench.runs.site import Bench, Session
    from bench.runs.store import Store


def usable_cores() -> int:
    """Return the number of CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_study(session: Session, request: Request) -> tuple[Plan, list[Finished]]:
    """Carry out the missing runs of a study, or wait until other workers have.

    Returns:
        The plan, and the results of the runs that were carried out.

    Raises:
        BenchError: If data or weights cannot be used, existing records forbid it (`plan_runs`), or
            the queue cannot be reached.
    """
    name = request.study.name
    plan = plan_runs(request, session.store)  # raises before anything expensive is done
    if not plan.todo and request.on_existing == "keep":
        return plan, []
    bench = set_up(session.site, request.preset)
    if request.on_existing in ("missing", "renew"):
        plan = _reuse(session.store, request, plan.under(bench.conditions), bench)
    _explain(name, plan)
    if not plan.todo:
        return plan, []
    say(f"{name}: {len(plan.todo)} runs, {_at_a_time(session, len(plan.todo))}")
    site = session.site
    job = job_of(bench, name, site.device, session.command, masks=site.masks)
    with run_progress(name, len(plan.todo)) as monitor:
        execution = Execution(session, request, bench, job, monitor)
        carry = _in_turn if session.storage is None else _through_queue
        return plan, carry(execution, plan.todo)


def _reuse(store: Store, request: Request, plan: Plan, bench: Bench) -> Plan:
    """Copy the records of equal runs of other studies."""
    runs, inherited, here = list(plan.runs), inherited_runs(request, store), commit()
    for index, run in enumerate(runs):
        if run.record is None:
            wanted = config_id(plain_config(run.variant.config))
            like = Likeness(request.preset, wanted, bench.conditions)
            run_id = (request.study.name, run.variant.name, run.seed)
            copy = store.copy_equal(run_id, like, apart_from=inherited)
            runs[index] = run.left(copy, here) if copy else run
    reused = Plan(tuple(runs))
    copies = len(plan.todo) - len(reused.todo)
    if copies:
        say(f"{request.study.name}: {copies} runs are those of other studies; copied")
    return reused


def _explain(study: str, plan: Plan) -> None:
    """Print why runs with a record are carried out again or not."""
    renewed = sum(run.reason == INHERITED for run in plan.todo)
    if renewed:
        say(f"{study}: {renewed} runs came with the checkout; they run again here")
    for run in plan.todo:
        if run.reason not in ("new", INHERITED):
            say(f"{run.label}: {run.reason}; runs again")
    older = sum(OTHER_CODE in run.reason for run in plan.done)
    if older:
        say(
            f"{study}: {older} records were made by the code of other commits and count as done; "
            "--on-existing replace runs them again"
        )


def _in_turn(execution: Execution, todo: Sequence[PlannedRun]) -> list[Finished]:
    """Carry out runs here, one after the other.

    Two such commands share the work: runs that the other command holds are tried last, and skipped
    if they have a record by then.
    """
    session, request = execution.session, execution.request
    results: dict[str, Finished] = {}
    for wait in (False, True):
        for run in todo:
            lock = FileLock(session.locks / f"{request.study.name}-{run.variant.name}-{run.seed}")
            if run.label in results or not lock.take(wait=wait):
                continue
            try:
                one = replace(request, variants=(run.variant,), seeds=(run.seed,))
                now = plan_runs(one, session.store).under(execution.bench.conditions)
                if now.todo:
                    results[run.label] = _one(execution, run)
            finally:
                lock.end()
    return list(results.values())


def _one(execution: Execution, run: PlannedRun) -> Finished:
    session, monitor = execution.session, execution.monitor
    clock = time.perf_counter()
    with one_thread(session.site.device):
        packed, details, discard = carry_out(execution.job, run, partial(monitor.stepped, run))
    record = session.store.put(packed)
    if discard is not None:
        discard()
    result = summary(run, record, time.perf_counter() - clock, details)
    monitor.finished(result)
    return result


def _through_queue(execution: Execution, todo: Sequence[PlannedRun]) -> list[Finished]:
    from bench.runs.orders import through_queue

    return through_queue(execution, todo)


def _at_a_time(session: Session, runs: int) -> str:
    if not session.workers:
        return "left to other workers"
    return f"{min(session.workers, runs)} at a time"
