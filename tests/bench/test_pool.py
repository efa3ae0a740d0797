"""Several processes: the same numbers as one, and a dead process costs one run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.plan import PlannedRun, Request, plan_runs
from bench.pool import run_in_processes
from bench.run import Finished, run_here
from bench.store import Store
from tests.bench.fake import STUDY, job

if TYPE_CHECKING:
    from pathlib import Path


class Notes:
    """A monitor that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.results: list[Finished] = []

    def stepped(self, slot: int, run: PlannedRun, step: int, total: int) -> None:
        self.steps.append((step, total))

    def finished(self, slot: int, result: Finished) -> None:
        self.results.append(result)


def todo(root: Path) -> tuple[PlannedRun, ...]:
    request = Request(study=STUDY, variants=STUDY.rows[:3], seeds=STUDY.seeds, preset="cartoon")
    return plan_runs(request, Store(root)).todo


def numbers(root: Path) -> dict[str, object]:
    """Everything in the records but times and threads, and the bytes of the counts."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*.json")):
        record = json.loads(path.read_text())
        name = path.relative_to(root).as_posix()
        found[name] = {key: record[key] for key in record if key != "provenance"}
        counts = path.with_suffix(".npz")
        found[name + " counts"] = counts.read_bytes() if counts.exists() else None
    return found


def test_workers_change_no_number_and_a_killed_one_costs_one_run(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run_here(job(one), todo(one), Notes())
    notes = Notes()
    killed = job(two, fail="die", marker=tmp_path / "died")
    results = run_in_processes(killed, todo(two), notes, workers=2)

    assert (3, 3) in notes.steps
    assert len(notes.results) == len(results) == 6
    (lost_run,) = [r.run for r in results if r.status == "failed"]
    assert lost_run.variant.name == "no-adapter"  # whichever of its seeds a worker took first
    record = Store(two).read("fake", "no-adapter", lost_run.seed)
    assert record is not None
    assert record.error == "worker process ended by signal 9 (out of memory?)"

    alone, together = numbers(one), numbers(two)
    assert len(alone) == 12
    torn = f"runs/fake/no-adapter/seed{lost_run.seed}"
    lost = {name for name in alone if name.startswith(torn)}
    assert {name for name in alone if together.get(name) != alone[name]} == lost
