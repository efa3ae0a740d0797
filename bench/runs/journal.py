"""Keeps an Optuna journal file readable when a writer is killed, and repairs damaged ones.

Optuna's own lock files outlive a killed process, and an incomplete line at the end of a journal
makes it unreadable once another line follows. Networked file systems cause more damage: joined
lines, an incomplete line before a complete one, zero bytes, lines of another file.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from bench.errors import RecordError
from bench.runs.record import from_json
from bench.runs.ticket import Ticket
from weakclip.data.artifacts import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_BLOCK = 65536
_OPERATION = re.compile(r'\{"op_code":([0-9]+)?')
CREATE_STUDY, CREATE_TRIAL = 0, 4
"""Operation codes of Optuna. Codes up to `CREATE_TRIAL` create or change studies, or create trials;
trials are numbered in the order of their creation."""
TICKET, RESULT = "ticket", "result"
"""Attributes of a trial."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """The readable part of a damaged journal."""

    operations: tuple[dict[str, Any], ...]
    complete: bool
    """Whether no creation of a study or trial can be lost, so that their numbers are right."""


class JournalLock:
    """A kernel lock of a journal; taking it also removes an incomplete last line."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = FileLock(journal.with_name(journal.name + ".lock"))

    def acquire(self) -> bool:
        """Wait for the lock, then remove an incomplete last line."""
        taken = self._lock.take(wait=True)
        cut_half_line(self._journal)
        return taken

    def release(self) -> None:
        """Unlock."""
        self._lock.release()


def salvage(content: bytes) -> Salvage:
    """The intact operations of a journal, wherever they are in it."""
    text = content.decode("utf-8", errors="replace")
    decoder = json.JSONDecoder()
    operations: list[dict[str, Any]] = []
    complete, position = True, 0
    while True:
        found = _OPERATION.search(text, position)
        between = text[position : found.start() if found else len(text)]
        complete &= "\0" not in between and "\ufffd" not in between  # may have been operations
        if found is None:
            complete &= not operations or operations[0]["op_code"] == CREATE_STUDY
            return Salvage(tuple(operations), complete)
        try:
            operation, position = decoder.raw_decode(text, found.start())
            operations.append(operation)
        except (ValueError, RecursionError):  # an incomplete operation
            changes = found[1] is not None and int(found[1]) > CREATE_TRIAL
            complete, position = complete and changes, found.end()


def finished_runs(operations: Sequence[dict[str, Any]]) -> Iterator[tuple[Ticket, dict[str, Any]]]:
    """Tickets and results of the runs that are certainly finished.

    Trials are numbered in the order of creation, and creations may be lost. So a result is matched
    to a ticket by the name of the run, and only if the journal has one ticket of that name.
    """
    tickets: dict[tuple[str, str], set[Ticket]] = defaultdict(set)
    results: dict[tuple[str, str], dict[str, Any]] = {}
    for operation in operations:
        attributes = operation.get("user_attrs") or operation.get("user_attr") or {}
        with suppress(TypeError, ValueError, KeyError, AttributeError, RecordError):
            if TICKET in attributes:
                ticket = Ticket(**attributes[TICKET])
                tickets[ticket.label, ticket.preset].add(ticket)
            if RESULT in attributes:
                record = from_json(attributes[RESULT]["record"], where="a damaged queue")
                float(attributes[RESULT]["ended"])
                name = run_name(attributes[RESULT]["record"])
                results[name, record.preset] = attributes[RESULT]
    for run, result in results.items():
        if len(tickets[run]) == 1:
            yield next(iter(tickets[run])), result


def run_name(record: str) -> str:
    """`study/variant/seed<k>` from the text of a record."""
    values = json.loads(record)
    return f"{values['study']}/{values['variant']}/seed{values['seed']}"


def free_name(journal: Path) -> Path:
    """An unused path for the copy of a damaged journal."""
    names = (journal.with_name(f"{journal.name}.damaged-{number}") for number in count(1))
    return next(path for path in names if not path.exists())


def cut_half_line(journal: Path) -> None:
    """Remove everything after the last line end of a file."""
    with journal.open("r+b") as file:
        end = position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - _BLOCK)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < end:
            file.truncate(position)
