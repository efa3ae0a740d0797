"""What stands in a queue: which run is asked for, and how far each attempt at it is."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bench.runs.store import PackedRun

if TYPE_CHECKING:
    from collections.abc import Sequence

State: TypeAlias = Literal["waiting", "running", "done", "returned", "duplicate"]
"""`returned`: the worker died or gave the run back; a later entry goes on with it."""

MAX_DEATHS = 3
"""A run whose worker died so often is given up."""
_HOLDS = ("waiting", "running", "done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A run by all that its result depends on; equal tickets are the same run."""

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
        """`study/variant/seed<k>`, as its record is called."""
        return f"{self.study}/{self.variant}/seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One trial as it is now."""

    number: int
    ticket: Ticket
    state: State
    after: int
    """Trials up to this number are older results that this one was asked to replace."""
    deaths: int
    """Workers that died in earlier attempts."""
    worker: str = ""
    """Host and process id: for people who look for it, never written to results."""
    since: float = 0.0
    """When it was taken, seconds since 1970."""
    step: tuple[int, int] = (0, 0)
    """Training steps done and in all."""
    given_back: bool = False
    result: dict[str, Any] | None = None

    @property
    def packed(self) -> PackedRun:
        """The files of a run that is done."""
        assert self.result is not None
        counts = self.result["counts"]
        return PackedRun(self.result["record"], counts and base64.b85decode(counts))

    @property
    def seconds(self) -> float:
        """From taking a run that is done to its end, by a clock that nobody sets."""
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
    """Whether an older trial of the same run stands for this one."""
    return any(
        entry.after < other.number < entry.number
        for other in entries
        if other.state in _HOLDS and other.ticket == entry.ticket
    )


def deaths_of(entry: Entry) -> int:
    """Workers that a returned run has cost."""
    return entry.deaths + (not entry.given_back)


def latest_of(entries: Sequence[Entry]) -> dict[Ticket, Entry]:
    """The last entry of each run that is no duplicate."""
    return {entry.ticket: entry for entry in entries if entry.state != "duplicate"}


def given_up(entry: Entry) -> bool:
    """Whether the last entry of a run says that it killed too many workers."""
    return entry.state == "returned" and entry.result is None and deaths_of(entry) >= MAX_DEATHS
