"""Worker processes: the same numbers as one, and a dead process costs nothing but time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.choices import HEARTBEAT
from bench.errors import BenchError
from bench.runs.plan import Request
from bench.runs.queue import open_queue
from bench.runs.session import run_study
from bench.runs.site import Session, Site
from bench.runs.store import Store
from bench.runs.worker import Worker
from tests.bench.fake import STUDY, FakeWorkbench, make_records, site

if TYPE_CHECKING:
    from pathlib import Path

    from bench.runs.plan import PlannedRun
    from bench.runs.run import Finished

REQUEST = Request(study=STUDY, variants=STUDY.rows, seeds=STUDY.seeds, preset="cartoon")


class Quiet:
    """A monitor that says nothing."""

    def stepped(self, run: PlannedRun, step: int, total: int) -> None: ...

    def finished(self, result: Finished) -> None: ...


def journal(root: Path) -> str:
    return f"{root}/q.journal"


def session(root: Path, at: Site, workers: int) -> Session:
    return Session(
        store=Store(root),
        site=at,
        storage=f"{root}/q.journal",
        workers=workers,
        command="test",
        locks=root / "locks",
        heartbeat=HEARTBEAT,
    )


def numbers(root: Path) -> dict[str, object]:
    """Everything in the records but times and threads, and the bytes of the counts."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("seed*.json")):
        record = json.loads(path.read_text())
        name = path.relative_to(root).as_posix()
        found[name] = {key: record[key] for key in record if key != "provenance"}
        found[name + " counts"] = path.with_suffix(".npz").read_bytes()
    return found


def test_processes_change_no_number_and_a_killed_one_loses_no_run(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    make_records(Store(alone), STUDY.seeds)
    killer = site("die", marker=tmp_path / "died")
    _, results = run_study(session(together, killer, workers=2), REQUEST)
    assert (tmp_path / "died").exists()
    assert [result.status for result in results] == ["ok"] * 10
    assert len(numbers(alone)) == 20
    assert numbers(alone) == numbers(together)
    with_deaths = [e for e in open_queue(journal(together)).entries() if e.deaths]
    assert [entry.ticket.variant for entry in with_deaths] == ["no-adapter"]


def test_a_machine_with_other_data_gives_the_run_back(tmp_path: Path) -> None:
    asked = session(tmp_path, site(), workers=1)
    queue = open_queue(journal(tmp_path))
    other = replace(site(), prepare=lambda _: FakeWorkbench(version=2))

    one = replace(REQUEST, variants=STUDY.rows[:1], seeds=(0,))
    run_study(asked, one)
    ticket = queue.entries()[0].ticket
    queue.enqueue(ticket, after=0)
    with pytest.raises(BenchError, match=r"expected protocol, data and weights .* --data-root"):
        Worker(queue, other, Quiet()).step()
    assert [entry.state for entry in queue.entries()] == ["done", "returned", "waiting"]


def test_another_version_of_a_study_gives_the_run_back(tmp_path: Path) -> None:
    asked = session(tmp_path, site(), workers=1)
    run_study(asked, replace(REQUEST, variants=STUDY.rows[:1], seeds=(0,)))
    queue = open_queue(journal(tmp_path))
    queue.enqueue(replace(queue.entries()[0].ticket, config_id="0" * 12))
    with pytest.raises(BenchError, match="expected config 000000000000, this checkout has"):
        Worker(queue, site(), Quiet()).step()
    assert [entry.state for entry in queue.entries()] == ["done", "returned", "waiting"]


def test_a_lost_record_comes_back_from_the_queue_and_replace_runs_again(tmp_path: Path) -> None:
    asked = session(tmp_path, site(), workers=1)
    one = replace(REQUEST, variants=STUDY.rows[:1], seeds=(0,))
    run_study(asked, one)
    path = asked.store.record_path("fake", "full", 0)
    before = path.read_bytes()
    path.unlink()
    run_study(asked, one)
    assert path.read_bytes() == before
    assert len(open_queue(journal(tmp_path)).entries()) == 1
    run_study(asked, replace(one, on_existing="replace"))
    assert len(open_queue(journal(tmp_path)).entries()) == 2
