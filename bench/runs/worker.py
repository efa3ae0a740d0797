"""Workers take runs from a queue and carry them out, in this process or in several.

A worker does not know which command requested a run or where its record is stored, so the same code
serves one machine and several.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.runs.plan import PlannedRun
from bench.runs.queue import Claim, Queue, open_queue, worker_name
from bench.runs.record import from_json
from bench.runs.run import carry_out, one_thread, summary
from bench.runs.site import job_of, set_up
from bench.studies.preset import study_for
from bench.studies.slots import config_id, plain_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    from bench.runs.run import Finished, Job, Monitor
    from bench.runs.site import Bench, Site
    from bench.runs.ticket import Ticket

POLL = 0.5
"""Seconds between two polls of an empty queue."""
REPORT_EVERY = 1.0
"""Least seconds between two progress reports of a run to the queue."""
_SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """Carries out runs of any study, in this process."""

    def __init__(self, queue: Queue, site: Site, monitor: Monitor) -> None:
        self._queue, self._site, self._monitor = queue, site, monitor
        self._benches: dict[str, Bench] = {}

    def work(self, *, on: Callable[[], bool]) -> list[Finished]:
        """Carry out runs while `on()` is true; it is called before each run."""
        results = []
        while on():
            result = self.step()
            if result is not None:
                self._monitor.finished(result)
                results.append(result)
                continue
            self._queue.recover()
            time.sleep(POLL)
        return results

    def step(self) -> Finished | None:
        """Carry out one run; None if no run is waiting.

        Raises:
            BenchError: If the run needs other data, weights or another version of the study than
                this machine has; the run is returned to the queue.
        """
        claim = self._queue.take(self._site.code)
        if claim is None:
            return None
        try:
            return self._carry_out(claim)
        except BaseException:  # this machine cannot do it, or the process is interrupted
            self._queue.give_back(claim)
            raise

    def adopt(self, bench: Bench) -> None:
        """Use a preset that is prepared already."""
        self._benches[bench.preset] = bench

    def _carry_out(self, claim: Claim) -> Finished:
        ticket = claim.entry.ticket
        job, run = self._job(ticket), self._run(ticket)
        clock = time.perf_counter()
        report = _Report(self._queue, claim, partial(self._monitor.stepped, run))
        with one_thread(self._site.device):
            packed, details, discard = carry_out(job, run, report)
        self._queue.finish(claim, packed, details)
        if discard is not None:
            discard()
        record = from_json(packed.record, where=ticket.label)
        return summary(run, record, time.perf_counter() - clock, details)

    def _job(self, ticket: Ticket) -> Job:
        if ticket.preset not in self._benches:
            self._benches[ticket.preset] = set_up(self._site, ticket.preset)
        bench = self._benches[ticket.preset]
        if str(bench.conditions) != ticket.conditions:
            raise BenchError(
                f"{ticket.label}: expected protocol, data and weights {ticket.conditions}, this "
                f"machine has {bench.conditions}; give it the --data-root, --weights and "
                "--precision that the run was asked with"
            )
        site = self._site
        return job_of(bench, ticket.study, site.device, ticket.command, masks=site.masks)

    def _run(self, ticket: Ticket) -> PlannedRun:
        study = study_for(self._site.load(ticket.study), ticket.preset)
        (variant,) = study.select((ticket.variant,))
        found = config_id(plain_config(variant.config))
        if found != ticket.config_id:
            raise BenchError(
                f"{ticket.label}: expected config {ticket.config_id}, this checkout has {found}; "
                "check out the commit the run was asked from"
            )
        return PlannedRun(variant=variant, seed=ticket.seed, reason="from the queue")


class Crew:
    """The worker processes of this machine."""

    def __init__(self, storage: str, heartbeat: int, site: Site, size: int) -> None:
        self._start = partial(_start, storage, heartbeat, site)
        self._members = [self._start() for _ in range(size)]

    def replace_the_dead(self) -> None:
        """Start a new process for each that was killed.

        Raises:
            BenchError: If all processes exited by themselves: this machine cannot do the runs.
        """
        for index, member in enumerate(self._members):
            if (member.exitcode or 0) < 0:
                self._members[index] = self._start()
        if self._members and all(member.exitcode is not None for member in self._members):
            raise BenchError("all worker processes ended; their messages are above")

    def end(self, queue: Queue) -> None:
        """Kill the processes, and return their runs to the queue."""
        for member in self._members:
            member.kill()
        for member in self._members:
            member.join()
            assert member.pid is not None
            queue.give_back_of(worker_name(member.pid))
        self._members = []


class _Report:
    """Reports the progress of a run: every step to the monitor, some steps to the queue."""

    def __init__(self, queue: Queue, claim: Claim, tell: Callable[[int, int], None]) -> None:
        self._queue, self._claim, self._tell = queue, claim, tell
        self._last = -REPORT_EVERY

    def __call__(self, step: int, total: int) -> None:
        self._tell(step, total)
        now = time.monotonic()
        if now - self._last >= REPORT_EVERY:
            self._last = now
            self._queue.report(self._claim, step, total)


class Silent:
    """A monitor that does nothing, for worker processes: their parent reads the queue."""

    def stepped(self, run: PlannedRun, step: int, total: int) -> None:
        """Do nothing."""

    def finished(self, result: Finished) -> None:
        """Do nothing."""


def _start(storage: str, heartbeat: int, site: Site) -> BaseProcess:
    """Start a worker process; it ignores Ctrl-C, because its parent ends it."""
    process = _SPAWN.Process(target=_serve, args=(storage, heartbeat, site, os.getpid()))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    return process


def _serve(storage: str, heartbeat: int, site: Site, parent: int) -> None:
    """Carry out runs until the parent process has ended; called in a worker process."""
    try:
        worker = Worker(open_queue(storage, heartbeat=heartbeat), site, Silent())
        worker.work(on=lambda: os.getppid() == parent)
    except (BenchError, OSError) as error:  # OSError: a full disk, another user's journal
        raise SystemExit(f"worker: {error}") from error
