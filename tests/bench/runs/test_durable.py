"""Killed anywhere, started twice: everything is finished once, and the tables are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.runs.queue import open_queue
from tests.bench.fake import STUDY

ROOT = Path(__file__).parents[3]
RUNS = len(STUDY.rows) * len(STUDY.seeds)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tests.bench.fake_cli` leaves."""
    folder = tmp_path_factory.mktemp("durable")
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.fake_cli"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def tables(folder: Path) -> dict[str, bytes]:
    """The tables; not the temporary files of killed writers, which stay for an hour."""
    paths = sorted((folder / "results" / "tables").glob("[!.]*"))
    return {path.name: path.read_bytes() for path in paths}


def runs_done(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


@pytest.mark.parametrize("how", ["", "-queue"])
def test_a_study_killed_at_every_second_touch_of_a_file_finishes(folder: Path, how: str) -> None:
    assert int((folder / f"faults{how}/attempts").read_text()) > RUNS
    assert "fake.csv" in tables(folder / "undisturbed")
    assert tables(folder / f"faults{how}") == tables(folder / "undisturbed")


def test_no_attempt_repeats_a_run_whose_record_was_written(folder: Path) -> None:
    attempts = int((folder / "faults/attempts").read_text())
    done = Counter(runs_done(folder / "faults"))
    assert done.keys() == set(runs_done(folder / "undisturbed"))
    assert RUNS <= sum(done.values()) <= attempts + RUNS - 1  # an attempt repeats one at most


def test_no_attempt_repeats_a_run_whose_record_was_handed_in(folder: Path) -> None:
    queue = open_queue((folder / "faults-queue/artifacts/queue.journal").as_posix())
    entries = queue.entries()
    assert sorted(e.ticket.label for e in entries if e.state == "done") == sorted(
        f"fake/{row.name}/seed{seed}" for row in STUDY.rows for seed in STUDY.seeds
    )
    attempts = Counter(f"{e.ticket.config_id} {e.ticket.seed}" for e in entries)
    done = Counter(runs_done(folder / "faults-queue"))
    assert done.keys() == set(runs_done(folder / "undisturbed"))
    assert all(1 <= done[run] <= attempts[run] for run in done)


@pytest.mark.parametrize("how", ["", "-queue"])
def test_two_processes_started_on_a_study_share_it(folder: Path, how: str) -> None:
    done = runs_done(folder / f"shared{how}")
    assert (len(done), len(set(done))) == (RUNS, RUNS)
    assert tables(folder / f"shared{how}") == tables(folder / "undisturbed")
