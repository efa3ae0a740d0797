"""Runs in several processes of one machine: each has its pipe and takes one run at a time.

Written on `multiprocessing` itself, because a process that is killed (out of memory) must cost
one run, not the study, and an interrupt must end the processes without waiting for their runs.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, TypeAlias

import torch

from bench.provenance import utc_now
from bench.run import Finished, Job, Monitor, Runner, failed, summary
from bench.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from bench.plan import PlannedRun

    Message: TypeAlias = tuple[int, int] | Finished

REPORT_EVERY = 0.2
"""Seconds between two progress messages of a worker."""

_SPAWN = multiprocessing.get_context("spawn")


def run_in_processes(
    job: Job, runs: Sequence[PlannedRun], monitor: Monitor, *, workers: int
) -> list[Finished]:
    """Carry out runs in up to `workers` processes; results come in the order they end."""
    waiting = deque(runs)
    results: list[Finished] = []
    crew = [_Worker(job, slot) for slot in range(min(workers, len(runs)))]
    try:
        for worker in crew:
            worker.take(waiting.popleft())
        while busy := {worker.connection: worker for worker in crew if worker.run is not None}:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker = busy[connection]
                result = worker.listen(monitor)
                if result is not None:
                    results.append(result)
                    worker.take(waiting.popleft() if waiting else None)
    finally:
        for worker in crew:
            worker.end()
    return results


class _Worker:
    """The parent's end of one worker process; started anew when it dies with work left."""

    def __init__(self, job: Job, slot: int) -> None:
        self.job = job
        self.slot = slot
        self.run: PlannedRun | None = None
        self._since = ("", 0.0)
        self._process: BaseProcess | None = None

    def take(self, run: PlannedRun | None) -> None:
        """Start a run, or none."""
        self.run = run
        if run is None:
            return
        if self._process is None:
            self.connection, theirs = _SPAWN.Pipe()
            self._process = _SPAWN.Process(target=_serve, args=(theirs, self.job))
            with _interrupts_ignored():
                self._process.start()
            theirs.close()
        self._since = (utc_now(), time.perf_counter())
        self.connection.send(run)

    def listen(self, monitor: Monitor) -> Finished | None:
        """Read one message; return the result if the run ended, also by the process's death."""
        assert self.run is not None
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            message = self._bury(self.run)
        if isinstance(message, Finished):
            monitor.finished(self.slot, message)
            return message
        monitor.stepped(self.slot, self.run, *message)
        return None

    def end(self) -> None:
        """End the process, in the middle of a run if it has one."""
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self.connection.close()
            self._process = None

    def _bury(self, run: PlannedRun) -> Finished:
        assert self._process is not None
        self._process.join()
        code = self._process.exitcode or 0
        why = f"signal {-code} (out of memory?)" if code < 0 else f"exit code {code}"
        self.connection.close()
        self._process = None
        started, clock = self._since
        record = failed(self.job, run, started, f"worker process ended by {why}")
        Store(self.job.root).write(record)
        return summary(run, record, time.perf_counter() - clock)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process started in here ignores Ctrl-C from its first moment on: the parent decides."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection, job: Job) -> None:
    """Carry out the runs that come through the pipe until it closes; runs in a worker."""
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    runner = Runner(job)
    while True:
        try:
            run: PlannedRun = connection.recv()
        except EOFError:
            return
        last = 0.0

        def report(step: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= REPORT_EVERY or step == total:
                last = now
                connection.send((step, total))

        connection.send(runner.carry_out(run, report))
