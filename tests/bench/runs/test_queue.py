"""Who gets a run, and what becomes of it when its worker dies, without any real worker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.errors import BenchError
from bench.runs.journal import cut_half_line
from bench.runs.queue import Claim, Pulse, Queue, open_queue
from bench.runs.status import running_rows, status_of, summary_line
from bench.runs.store import pack
from bench.runs.ticket import MAX_DEATHS, Ticket
from tests.bench.records import RECORD
from tests.bench.runs.test_store import COUNTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TICKET = Ticket(
    study="fake", variant="full", seed=0, preset="cartoon", config_id="c", conditions="d",
    code="code", command="run",
)  # fmt: skip
DONE = pack(RECORD, COUNTS)


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{tmp_path}/q.journal" if request.param == "journal" else f"sqlite:///{tmp_path}/q.db"


@pytest.fixture
def queue(storage: str) -> Iterator[Queue]:
    with closing(open_queue(storage)) as queue:
        yield queue


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Queue]:
    with closing(open_queue(f"{tmp_path}/q.journal")) as queue:
        yield queue


def taken(queue: Queue) -> Claim:
    claim = queue.take("code")
    assert claim is not None
    return claim


def states(queue: Queue) -> list[str]:
    return [entry.state for entry in queue.entries()]


def test_a_run_asked_for_twice_is_done_once(queue: Queue) -> None:
    queue.enqueue(TICKET)
    queue.enqueue(replace(TICKET, command="the same in other words"))
    claim = taken(queue)
    assert queue.take("code") is None
    queue.finish(claim, DONE)
    assert queue.take("code") is None
    assert states(queue) == ["done", "duplicate"]
    assert queue.entries()[0].packed == DONE


def test_a_run_is_done_again_when_that_is_asked_for(queue: Queue) -> None:
    queue.enqueue(TICKET)
    queue.finish(taken(queue), DONE)
    queue.enqueue(TICKET, after=0)
    queue.finish(taken(queue), DONE)
    assert states(queue) == ["done", "done"]


def test_runs_of_other_code_are_left_to_others(queue: Queue) -> None:
    queue.enqueue(TICKET)
    assert queue.take("other code") is None
    assert states(queue) == ["waiting"]


def test_two_workers_never_have_the_same_run(storage: str, queue: Queue) -> None:
    queue.enqueue(TICKET)
    queue.enqueue(replace(TICKET, seed=1))
    with closing(open_queue(storage)) as other:
        claims = [taken(queue), taken(other)]
        assert {claim.entry.ticket.seed for claim in claims} == {0, 1}
        assert queue.take("code") is None
        queue.finish(claims[0], DONE)
        other.finish(claims[1], DONE)


def test_a_run_that_is_given_back_waits_again_and_nobody_died(queue: Queue) -> None:
    queue.enqueue(TICKET)
    queue.give_back(taken(queue))
    assert states(queue) == ["returned", "waiting"]
    assert queue.entries()[1].deaths == 0
    queue.finish(taken(queue), DONE)


def test_what_a_worker_taken_for_dead_hands_in_is_dropped(queue: Queue) -> None:
    queue.enqueue(TICKET)
    late = taken(queue)
    queue.give_back_of(queue.entries()[0].worker)
    queue.finish(late, pack(replace(RECORD, seed=5), COUNTS))
    queue.finish(taken(queue), DONE)
    assert states(queue) == ["returned", "done"]
    assert queue.entries()[1].packed == DONE


def test_the_run_of_a_killed_process_waits_again_until_it_has_killed_too_many(
    journal: Queue, tmp_path: Path
) -> None:
    journal.enqueue(TICKET)
    for death in range(1, MAX_DEATHS + 1):
        assert states(journal)[-1] == "waiting"
        process = multiprocessing.get_context("fork").Process(
            target=_take_and_die, args=(f"{tmp_path}/q.journal",)
        )
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        journal.recover()
        assert journal.entries()[-1].deaths == min(death, MAX_DEATHS - 1)
    assert states(journal) == ["returned"] * MAX_DEATHS
    assert status_of(journal.entries(), 0).failures == ("fake/full/seed0: killed its workers",)


def test_a_living_worker_keeps_its_run(journal: Queue) -> None:
    journal.enqueue(TICKET)
    claim = taken(journal)
    journal.recover()
    assert states(journal) == ["running"]
    journal.finish(claim, DONE)


def test_without_a_sign_of_life_a_run_is_given_to_another(tmp_path: Path) -> None:
    with closing(open_queue(f"sqlite:///{tmp_path}/q.db", heartbeat=1)) as queue:
        queue.enqueue(TICKET)
        taken(queue).lease.end()
        while states(queue) == ["running"]:
            time.sleep(0.2)
            queue.recover()
        assert states(queue) == ["returned", "waiting"]
        assert queue.entries()[1].deaths == 1


def test_a_pulse_goes_on_when_a_sign_of_life_cannot_be_left() -> None:
    beats: list[int] = []

    def beat() -> None:
        beats.append(len(beats))
        if len(beats) == 1:
            raise OSError

    pulse = Pulse(beat, 0.01)
    while len(beats) < 3:
        time.sleep(0.01)
    pulse.end()
    count = len(beats)
    time.sleep(0.05)
    assert len(beats) == count


def test_a_death_between_record_and_end_loses_no_record(journal: Queue, tmp_path: Path) -> None:
    journal.enqueue(TICKET)
    process = multiprocessing.get_context("fork").Process(
        target=_hand_in_and_die, args=(f"{tmp_path}/q.journal",)
    )
    process.start()
    process.join()
    journal.recover()
    assert states(journal) == ["returned", "done"]
    assert journal.entries()[1].packed == DONE


def test_half_a_line_at_the_end_of_a_journal_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "q.journal"
    with closing(open_queue(str(path))) as queue:
        queue.enqueue(TICKET)
    with path.open("ab") as file:
        file.write(b'{"op_code": 4, "trial_id": 0, "user_attr": {"resu' + b"x" * 100_000)
    with closing(open_queue(str(path))) as queue:
        queue.finish(taken(queue), DONE)
    with closing(open_queue(str(path))) as queue:
        assert states(queue) == ["done"]


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"ab", b"")]
)
def test_whole_lines_stay(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(before)
    cut_half_line(path)
    assert path.read_bytes() == after


def test_status_says_what_runs_where_and_how_long(journal: Queue) -> None:
    for seed in range(4):
        journal.enqueue(replace(TICKET, seed=seed))
    journal.finish(taken(journal), DONE)
    failed = replace(RECORD, status="failed", error="OSError: full", metrics={}, per_class={})
    journal.finish(taken(journal), pack(failed))
    claim = taken(journal)
    journal.report(claim, 30, 120)
    entries = [
        replace(entry, since=1000.0, result=entry.result and {**entry.result, "seconds": 100.0})
        for entry in journal.entries()
    ]
    found = status_of(entries, now=1050.0)
    assert (found.waiting, len(found.running), found.done) == (1, 1, 2)
    assert found.failures == ("fake/full/seed1: OSError: full",)
    assert found.runs_per_hour == pytest.approx(36)
    assert found.seconds_left == pytest.approx(150)
    ((run, worker, step, minutes, attempt),) = running_rows(found, now=1060.0)
    assert (run, step, minutes, attempt) == ("fake/full/seed2", "30/120", "1.0", "1")
    assert worker.endswith(f":{os.getpid()}")
    assert "36.0 runs/h" in summary_line(found)
    journal.finish(claim, DONE)


def test_a_database_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="expected a database that answers, got"):
        open_queue(f"sqlite:///{tmp_path}/no/such/folder.db")


def _take_and_die(journal: str) -> None:
    assert open_queue(journal).take("code") is not None
    os.kill(os.getpid(), signal.SIGKILL)


def _hand_in_and_die(journal: str) -> None:
    queue = open_queue(journal)
    claim = queue.take("code")
    assert claim is not None
    queue._end = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    queue.finish(claim, DONE)
