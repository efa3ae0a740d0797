"""The status of a queue: running runs and their workers, rate, time left, failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.runs.record import from_json
from bench.runs.ticket import given_up, latest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.ticket import Entry

NONE = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The runs of a queue, each counted once regardless of the number of attempts."""

    waiting: int
    running: tuple[Entry, ...]
    done: int
    failures: tuple[str, ...]
    """`study/variant/seed<k>: reason` of runs that raised or killed their workers."""
    runs_per_hour: float | None
    """Rate with the runs that are running now; None if no run has finished or none is running."""
    seconds_left: float | None
    """Estimated time until all runs are done; None as above."""


def status_of(entries: Sequence[Entry], now: float) -> Status:
    """Summarise a queue.

    Args:
        entries: All its trials.
        now: Current time in seconds since 1970.
    """
    latest = list(latest_of(entries).values())
    running = tuple(entry for entry in latest if entry.state == "running")
    done = [entry for entry in latest if entry.state == "done"]
    lost = [f"{entry.ticket.label}: killed its workers" for entry in latest if given_up(entry)]
    waiting = len(latest) - len(running) - len(done) - len(lost)
    seconds = [entry.seconds for entry in done if entry.packed.counts is not None]
    per_run = sum(seconds) / len(seconds) if seconds else None
    busy = None if per_run is None or not running else len(running) / max(per_run, 1e-9)
    spent = sum(min(_age(entry, now), per_run or 0.0) for entry in running)
    to_do = None if per_run is None else per_run * (waiting + len(running)) - spent
    return Status(
        waiting=waiting,
        running=running,
        done=len(done),
        failures=tuple(sorted([*lost, *_errors(done)])),
        runs_per_hour=None if busy is None else 3600 * busy,
        seconds_left=None if to_do is None or not running else to_do / len(running),
    )


def running_rows(status: Status, now: float) -> list[tuple[str, ...]]:
    """Return label, worker, step, minutes and number of the attempt of each running run."""
    return [
        (
            entry.ticket.label,
            entry.worker or NONE,
            f"{entry.step[0]}/{entry.step[1]}" if entry.step[1] else NONE,
            f"{_age(entry, now) / 60:.1f}" if entry.since else NONE,
            str(entry.deaths + 1),
        )
        for entry in status.running
    ]


def summary_line(status: Status) -> str:
    """Return counts, rate and time left in one line."""
    counts = (
        f"{status.waiting} waiting, {len(status.running)} running, {status.done} done, "
        f"{len(status.failures)} failed"
    )
    if status.runs_per_hour is None or status.seconds_left is None:
        return counts
    return f"{counts}; {status.runs_per_hour:.1f} runs/h, {status.seconds_left / 60:.0f} min left"


def _age(entry: Entry, now: float) -> float:
    """Seconds since a run was taken; not negative, even if the clocks of machines differ."""
    return max(now - entry.since, 0.0)


def _errors(done: Sequence[Entry]) -> list[str]:
    failed = [entry for entry in done if entry.packed.counts is None]
    return [
        f"{entry.ticket.label}: {from_json(entry.packed.record, where=entry.ticket.label).error}"
        for entry in failed
    ]
