"""Times in a queue, when the clock of a machine is set."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.runs.queue import open_queue
from bench.runs.status import running_rows, status_of
from bench.runs.store import pack
from bench.runs.ticket import Entry, Ticket
from tests.bench.records import RECORD

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


TICKET = Ticket(
    study="fake", variant="full", seed=0, preset="cartoon", config_id="c", conditions="d",
    code="code", command="test",
)  # fmt: skip


def test_seconds_of_a_run_do_not_follow_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = open_queue(str(tmp_path / "queue.journal"))
    queue.enqueue(TICKET)
    now = iter([2e9, 1e9])  # taken, then ended a long time before
    monkeypatch.setattr(time, "time", lambda: next(now))
    claim = queue.take("code")
    assert claim is not None
    queue.finish(claim, pack(RECORD, None))
    (entry,) = queue.entries()
    assert 0 <= entry.seconds < 60
    queue.close()


def test_a_run_taken_in_the_future_has_run_for_no_time() -> None:
    running = Entry(number=0, ticket=TICKET, state="running", after=-1, deaths=0, since=2e9)
    found = status_of([running], 1e9)
    assert running_rows(found, 1e9)[0][3] == "0.0"
    older = replace(running, state="done", result={"ended": 1e9})
    assert older.seconds == 0.0
