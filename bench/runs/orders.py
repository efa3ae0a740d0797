"""Runs through a queue: this process enqueues them, waits for them and writes their records.

Any process on any machine with the queue may carry out a run. Only the process that requested a run
writes its record.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.runs.provenance import utc_now
from bench.runs.queue import open_queue
from bench.runs.run import failed, summary
from bench.runs.store import pack
from bench.runs.ticket import MAX_DEATHS, Ticket, given_up
from bench.runs.worker import POLL, Crew, Worker
from bench.studies.slots import config_id, plain_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.runs.plan import PlannedRun
    from bench.runs.queue import Queue
    from bench.runs.run import Finished
    from bench.runs.site import Execution
    from bench.runs.ticket import Entry

SLOWEST_POLL = 4.0
"""Longest time in seconds between two polls of the queue; polling slows the workers."""


@dataclass(frozen=True, slots=True)
class Order:
    """A requested run, and the number of the last trial whose result must not be used for it."""

    run: PlannedRun
    ticket: Ticket
    after: int

    def answers(self, entries: Sequence[Entry]) -> list[Entry]:
        """The trials for this order, oldest first."""
        return [
            entry
            for entry in entries
            if entry.number > self.after
            and entry.ticket == self.ticket
            and entry.state != "duplicate"
        ]


def through_queue(execution: Execution, todo: Sequence[PlannedRun]) -> list[Finished]:
    """Enqueue runs, and carry them out or wait until each has its record.

    Returns:
        The results in the order in which the runs end.
    """
    session, monitor = execution.session, execution.monitor
    assert session.storage is not None
    with closing(open_queue(session.storage, heartbeat=session.heartbeat)) as queue:
        orders = _ask(execution, queue, todo)
        results: list[Finished] = []
        pending = {order.ticket: order for order in orders}
        worker = Worker(queue, session.site, monitor)
        worker.adopt(execution.bench)
        size = min(session.workers, len(orders)) if session.workers > 1 else 0
        crew = Crew(session.storage, session.heartbeat, session.site, size)
        pause = POLL
        try:
            while True:
                for result in _collect(execution, queue, pending):
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


def _ask(execution: Execution, queue: Queue, todo: Sequence[PlannedRun]) -> list[Order]:
    """Enqueue the runs that are not in the queue already.

    A finished trial that was not collected because an earlier command was killed is used. A trial
    that failed or has to be replaced is not.
    """
    session, request = execution.session, execution.request
    queue.recover()
    entries = queue.entries()
    orders = []
    for run in todo:
        ticket = Ticket(
            study=request.study.name,
            variant=run.variant.name,
            seed=run.seed,
            preset=request.preset,
            config_id=config_id(plain_config(run.variant.config)),
            conditions=str(execution.bench.conditions),
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


def _collect(
    execution: Execution, queue: Queue, pending: dict[Ticket, Order]
) -> Iterator[Finished]:
    """Write the records of finished orders, and remove these from `pending`."""
    entries, store = queue.entries(), execution.session.store
    for order in list(pending.values()):
        answers = order.answers(entries)
        done = next((entry for entry in answers if entry.state == "done"), None)
        if done is not None:
            record = store.put(done.packed)
            del pending[order.ticket]
            yield summary(order.run, record, done.seconds, done.details)
        elif answers and given_up(answers[-1]):
            why = f"{MAX_DEATHS} worker processes ended in this run (out of memory?)"
            record = store.put(pack(failed(execution.job, order.run, utc_now(), why)))
            del pending[order.ticket]
            yield summary(order.run, record, 0.0)
        elif answers and answers[-1].state == "running" and answers[-1].step[1]:
            execution.monitor.stepped(order.run, *answers[-1].step)
