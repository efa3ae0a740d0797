"""Entries of a queue: the requested runs, and the state of each attempt at them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bench.runs.store import PackedRun

if TYPE_CHECKING:
    from collections.abc import Sequence

State: TypeAlias = Literal["waiting", "running", "done", "returned", "duplicate"]
"""`returned`: the worker died or returned the run; a later entry continues with it."""

MAX_DEATHS = 3
"""A run is given up after this many workers died in it."""
_HOLDS = ("waiting", "running", "done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Identifies a run by everything its result depends on; equal tickets are the same run."""

    study: str
    variant: str
    seed: int
    preset: str
    config_id: str
    conditions: str
    """Id of protocol, data and weights."""
    code: str
    """Id of the source code."""
    command: str = field(compare=False)

    @property
    def label(self) -> str:
        """`study/variant/seed<k>`, the name of its record."""
        return f"{self.study}/{self.variant}/seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The current state of one trial of the storage, that is, one attempt at a run."""

    number: int
    ticket: Ticket
    state: State
    after: int
    """Trials of the same run up to this number are old results that this trial replaces."""
    deaths: int
    """Number of workers that died in earlier attempts."""
    worker: str = ""
    """Host and process id, for `status`; never written to results."""
    since: float = 0.0
    """Time at which a worker took it, in seconds since 1970."""
    step: tuple[int, int] = (0, 0)
    """Training steps done, and total number of steps."""
    given_back: bool = False
    """Whether the worker returned the run, rather than died in it."""
    result: dict[str, Any] | None = None

    @property
    def packed(self) -> PackedRun:
        """The files of a finished run."""
        assert self.result is not None
        counts = self.result["counts"]
        return PackedRun(self.result["record"], counts and base64.b85decode(counts))

    @property
    def seconds(self) -> float:
        """Seconds from taking a finished run to its end, by a monotonic clock if known."""
        assert self.result is not None
        measured = self.result.get("seconds")  # not in queues of earlier versions
        clock = float(self.result["ended"]) - self.since
        return max(clock, 0.0) if measured is None else float(measured)

    @property
    def details(self) -> str:
        """The traceback of a run that raised, for the log only."""
        assert self.result is not None
        return str(self.result["details"])


def is_duplicate(entry: Entry, entries: Sequence[Entry]) -> bool:
    """Whether an older trial of the same run makes this one unnecessary."""
    return any(
        entry.after < other.number < entry.number
        for other in entries
        if other.state in _HOLDS and other.ticket == entry.ticket
    )


def deaths_of(entry: Entry) -> int:
    """Number of workers that have died in a returned run."""
    return entry.deaths + (not entry.given_back)


def latest_of(entries: Sequence[Entry]) -> dict[Ticket, Entry]:
    """The last entry of each run, without duplicates."""
    return {entry.ticket: entry for entry in entries if entry.state != "duplicate"}


def given_up(entry: Entry) -> bool:
    """Whether a run, judged by its last entry, has killed too many workers."""
    return entry.state == "returned" and entry.result is None and deaths_of(entry) >= MAX_DEATHS
