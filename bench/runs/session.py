"""One study from request to records: plan, ask for what is missing, wait, collect.

Runs go through a queue always, so one process, several, and several machines differ in who takes
a run and in nothing else. Whoever asked collects: records are written here only.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.console import say
from bench.runs.console import run_progress
from bench.runs.plan import INHERITED, Plan, Request, inherited_files, plan_runs
from bench.runs.provenance import utc_now
from bench.runs.queue import HEARTBEAT, open_queue
from bench.runs.run import Finished, failed, summary
from bench.runs.store import Likeness, pack
from bench.runs.ticket import MAX_DEATHS, Ticket, given_up
from bench.runs.worker import POLL, Crew, Site, Worker, job_of, set_up
from bench.studies.slots import config_id, plain_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.runs.plan import PlannedRun
    from bench.runs.queue import Queue
    from bench.runs.run import Job, Monitor
    from bench.runs.store import Store
    from bench.runs.ticket import Entry
    from bench.runs.worker import Bench


SLOWEST_POLL = 4.0
"""Seconds between two looks at long runs: looking takes time from the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is the same for all studies of one command."""

    store: Store
    site: Site
    storage: str
    """Where the queue is: URL of a database, or path of a journal file."""
    workers: int
    """Runs at a time on this machine; 0 leaves them to others, 1 does them in this process."""
    command: str
    heartbeat: int = HEARTBEAT
    """Seconds between two signs of life of a worker, in a database."""


@dataclass(frozen=True, slots=True)
class Order:
    """A run that is asked for, and the number of the last trial that does not answer it."""

    run: PlannedRun
    ticket: Ticket
    after: int

    def answers(self, entries: Sequence[Entry]) -> list[Entry]:
        """The trials that stand for this order, oldest first."""
        return [
            entry
            for entry in entries
            if entry.number > self.after
            and entry.ticket == self.ticket
            and entry.state != "duplicate"
        ]


def usable_cores() -> int:
    """Return the number of CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_study(session: Session, request: Request) -> tuple[Plan, list[Finished]]:
    """Have done what is to do of a study.

    Raises:
        BenchError: If the data or weights are not usable, existing records stand in the way, or
            the queue cannot be reached.
    """
    first = plan_runs(request, session.store)  # refuse before anything expensive is made
    if not first.todo and request.on_existing == "keep":
        return first, []
    bench = set_up(session.site, request.preset)
    if request.on_existing in ("missing", "renew"):
        request = replace(request, conditions=bench.conditions)
        _reuse(session.store, request, bench)
    plan = plan_runs(request, session.store)
    renewed = sum(run.reason == INHERITED for run in plan.todo)
    if renewed:
        say(f"{request.study.name}: {renewed} runs came with the checkout; they run again here")
    for run in plan.todo:
        if run.reason not in ("new", INHERITED):
            say(f"{run.label}: {run.reason}; runs again")
    if not plan.todo:
        return plan, []
    name = request.study.name
    say(f"{name}: {len(plan.todo)} runs, {_at_a_time(session, len(plan.todo))}")
    job = job_of(bench, name, session.site.device, session.command)
    with closing(open_queue(session.storage, heartbeat=session.heartbeat)) as queue:
        orders = _ask(session, request, bench, plan, queue)
        with run_progress(name, len(orders)) as monitor:
            return plan, _collect_all(session, queue, bench, job, orders, monitor)


def _reuse(store: Store, request: Request, bench: Bench) -> None:
    """Take from other studies the runs that are those of this one under another name."""
    copies, inherited = 0, inherited_files(request, store)
    for run in plan_runs(request, store).todo:
        wanted = config_id(plain_config(run.variant.config))
        like = Likeness(request.preset, wanted, bench.conditions)
        run_id = (request.study.name, run.variant.name, run.seed)
        copies += store.copy_equal(run_id, like, apart_from=inherited) is not None
    if copies:
        say(f"{request.study.name}: {copies} runs are those of other studies; copied")


def _ask(session: Session, request: Request, bench: Bench, plan: Plan, queue: Queue) -> list[Order]:
    """Put into the queue what is not there already.

    A trial that was finished and not collected, because this command was killed, answers; one
    that failed, or that is to be replaced, does not.
    """
    queue.recover()
    entries = queue.entries()
    orders = []
    for run in plan.todo:
        ticket = Ticket(
            study=request.study.name,
            variant=run.variant.name,
            seed=run.seed,
            preset=request.preset,
            config_id=config_id(plain_config(run.variant.config)),
            conditions=bench.conditions,
            code=session.site.code,
            command=session.command,
        )
        refused = [
            entry.number
            for entry in entries
            if entry.ticket == ticket
            and (given_up(entry) or _refused(entry, everything=request.on_existing == "replace"))
        ]
        order = Order(run, ticket, max(refused, default=-1))
        if not order.answers(entries):
            queue.enqueue(ticket, after=order.after)
        orders.append(order)
    return orders


def _refused(entry: Entry, *, everything: bool) -> bool:
    return entry.state == "done" and (everything or entry.packed.counts is None)


def _collect_all(
    session: Session,
    queue: Queue,
    bench: Bench,
    job: Job,
    orders: Sequence[Order],
    monitor: Monitor,
) -> list[Finished]:
    """Work or wait until each order has its record; results come in the order they end."""
    results: list[Finished] = []
    pending = {order.ticket: order for order in orders}
    worker = Worker(queue, session.site, _Steps(monitor))
    worker.adopt(bench)
    crew = Crew(
        session.storage, session.heartbeat, session.site,
        min(session.workers, len(orders)) if session.workers > 1 else 0,
    )  # fmt: skip
    pause = POLL
    try:
        while True:
            for result in _collect(session.store, queue, job, pending, monitor):
                monitor.finished(result)
                results.append(result)
                pause = POLL
            if not pending:
                return results
            if session.workers != 1 or worker.step() is None:
                crew.replace_the_dead()
                queue.recover()
                time.sleep(pause)
                pause = min(1.2 * pause, SLOWEST_POLL)
    finally:
        crew.end(queue)


def _collect(
    store: Store, queue: Queue, job: Job, pending: dict[Ticket, Order], monitor: Monitor
) -> Iterator[Finished]:
    """Write the records of the orders that are answered, and drop these from `pending`."""
    entries = queue.entries()
    for order in list(pending.values()):
        answers = order.answers(entries)
        done = next((entry for entry in answers if entry.state == "done"), None)
        if done is not None:
            record = store.put(done.packed)
            del pending[order.ticket]
            yield summary(order.run, record, done.seconds, done.details)
        elif answers and given_up(answers[-1]):
            why = f"{MAX_DEATHS} worker processes ended in this run (out of memory?)"
            record = store.put(pack(failed(job, order.run, utc_now(), why)))
            del pending[order.ticket]
            yield summary(order.run, record, 0.0)
        elif answers and answers[-1].state == "running" and answers[-1].step[1]:
            monitor.stepped(order.run, *answers[-1].step)


def _at_a_time(session: Session, runs: int) -> str:
    if not session.workers:
        return "left to other workers"
    return f"{min(session.workers, runs)} at a time"


@dataclass(frozen=True, slots=True)
class _Steps:
    """Passes on the steps of the worker in this process; its results are collected."""

    monitor: Monitor

    def stepped(self, run: PlannedRun, step: int, total: int) -> None:
        """A run went on."""
        self.monitor.stepped(run, step, total)

    def finished(self, result: Finished) -> None:
        """Say nothing: the record is not written yet."""
