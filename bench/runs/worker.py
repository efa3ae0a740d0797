"""Takes runs from a queue and carries them out: one after the other, or in several processes.

A worker knows nothing about who asked for a run or where its record will be kept, so the same
loop serves one machine and many.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from bench.errors import BenchError
from bench.runs.plan import PlannedRun
from bench.runs.provenance import collect
from bench.runs.queue import Claim, Queue, open_queue, worker_name
from bench.runs.record import conditions_id, from_json
from bench.runs.run import Finished, Job, Monitor, carry_out, summary
from bench.studies.preset import study_for
from bench.studies.slots import config_id, plain_config
from weakclip.network.checkpoints import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.process import BaseProcess

    from bench.runs.ticket import Ticket
    from bench.studies.study import Study
    from bench.studies.workbench import Workbench

POLL = 0.5
"""Seconds between two looks into a queue that has nothing to do."""
REPORT_EVERY = 1.0
"""Seconds between two notes in the queue on how far a run is."""
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a machine brings; picklable, because each worker process gets it."""

    prepare: Callable[[str], Workbench]
    """Preset to workbench. Cheap when called again: expensive products are kept on disk."""
    load: Callable[[str], Study]
    """Name to study."""
    device: str
    code: str
    """Id of the source code, as `bench.runs.provenance.code_id`; runs of another are left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A preset, ready on this machine."""

    preset: str
    workbench: Workbench
    protocol: dict[str, object]
    data: dict[str, object]
    weights: dict[str, object]

    @property
    def conditions(self) -> str:
        """Id of protocol, data and weights."""
        return conditions_id(self.protocol, self.data, self.weights)


def set_up(site: Site, preset: str) -> Bench:
    """Prepare a preset.

    Raises:
        BenchError: If its data or weights are not usable, or its protocol is incomplete.
    """
    try:
        workbench = site.prepare(preset)
        parts = [_described(p) for p in (workbench.protocol, workbench.data, workbench.weights)]
    except (ValueError, OSError) as error:
        raise BenchError(f"preset {preset!r}: {error}") from error
    protocol, data, weights = parts
    splits = protocol.get("splits")
    if not isinstance(splits, dict) or set(splits) != set(workbench.tasks):
        raise BenchError(
            f"protocol of preset {preset!r}: expected `splits` with the tasks "
            f"{workbench.tasks}, got {splits}"
        )
    return Bench(preset=preset, workbench=workbench, protocol=protocol, data=data, weights=weights)


def job_of(bench: Bench, study: str, device: str, command: str) -> Job:
    """Return what all runs of a study share."""
    return Job(
        study=study,
        preset=bench.preset,
        workbench=bench.workbench,
        protocol=bench.protocol,
        provenance=collect(device=device, command=command, data=bench.data, weights=bench.weights),
    )


class Worker:
    """Carries out runs of any study, in this process."""

    def __init__(self, queue: Queue, site: Site, monitor: Monitor) -> None:
        self._queue, self._site, self._monitor = queue, site, monitor
        self._benches: dict[str, Bench] = {}

    def work(self, *, on: Callable[[], bool]) -> list[Finished]:
        """Take runs as long as `on` says so; it is asked before each."""
        results = []
        while on():
            result = self.step()
            if result is not None:
                results.append(result)
                continue
            self._queue.recover()
            time.sleep(POLL)
        return results

    def step(self) -> Finished | None:
        """Carry out one run; none if nothing waits.

        Raises:
            BenchError: If this machine has other data or another study; the run is given back.
        """
        claim = self._queue.take(self._site.code)
        if claim is None:
            return None
        try:
            result = self._carry_out(claim)
        except BaseException:  # this machine cannot do it, or is told to stop
            self._queue.give_back(claim)
            raise
        self._monitor.finished(result)
        return result

    def adopt(self, bench: Bench) -> None:
        """Use a preset that is ready already."""
        self._benches[bench.preset] = bench

    def _carry_out(self, claim: Claim) -> Finished:
        ticket = claim.entry.ticket
        job, run = self._job(ticket), self._run(ticket)
        clock = time.perf_counter()
        report = _Report(self._queue, claim, partial(self._monitor.stepped, run))
        with _one_thread(self._site.device):
            packed, details = carry_out(job, run, report)
        self._queue.finish(claim, packed, details)
        record = from_json(packed.record, where=ticket.label)
        return summary(run, record, time.perf_counter() - clock, details)

    def _job(self, ticket: Ticket) -> Job:
        if ticket.preset not in self._benches:
            self._benches[ticket.preset] = set_up(self._site, ticket.preset)
        bench = self._benches[ticket.preset]
        if bench.conditions != ticket.conditions:
            raise BenchError(
                f"{ticket.label}: expected protocol, data and weights {ticket.conditions}, this "
                f"machine has {bench.conditions}; give it the --data-root, --weights and "
                "--precision that the run was asked with"
            )
        return job_of(bench, ticket.study, self._site.device, ticket.command)

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
    """Worker processes of this machine; a dead one is replaced while runs are left."""

    def __init__(self, storage: str, heartbeat: int, site: Site, size: int) -> None:
        self._start = partial(_start, storage, heartbeat, site)
        self._members = [self._start() for _ in range(size)]

    def replace_the_dead(self) -> None:
        """Start a new process for each that was killed.

        Raises:
            BenchError: If all have ended by themselves: this machine cannot do the runs.
        """
        for index, member in enumerate(self._members):
            if (member.exitcode or 0) < 0:
                self._members[index] = self._start()
        if self._members and all(member.exitcode is not None for member in self._members):
            raise BenchError("all worker processes ended; their messages are above")

    def end(self, queue: Queue) -> None:
        """End the processes, and give back what they hold."""
        for member in self._members:
            member.kill()
        for member in self._members:
            member.join()
            assert member.pid is not None
            queue.give_back_of(worker_name(member.pid))
        self._members = []


class _Report:
    """Passes on how far a run is: each step to the monitor, now and then to the queue."""

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
    """A monitor for worker processes: the queue tells the parent."""

    def stepped(self, run: PlannedRun, step: int, total: int) -> None:
        """Say nothing."""

    def finished(self, result: Finished) -> None:
        """Say nothing."""


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    """On a CPU a run has one thread, however many run at once."""
    threads = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _start(storage: str, heartbeat: int, site: Site) -> BaseProcess:
    """Start a worker process; it ignores Ctrl-C, because its parent decides."""
    process = _SPAWN.Process(target=_serve, args=(storage, heartbeat, site, os.getpid()))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    return process


def _serve(storage: str, heartbeat: int, site: Site, parent: int) -> None:
    """Work until the parent is gone; runs in a worker process."""
    try:
        worker = Worker(open_queue(storage, heartbeat=heartbeat), site, Silent())
        worker.work(on=lambda: os.getppid() == parent)
    except BenchError as error:
        raise SystemExit(f"worker: {error}") from error


def _described(values: Mapping[str, object]) -> dict[str, object]:
    described = describe(dict(values))
    assert isinstance(described, dict)
    return described
