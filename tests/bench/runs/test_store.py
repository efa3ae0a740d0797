from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.runs import store as module
from bench.runs.record import RecordError
from bench.runs.store import Store, pack, write_atomically
from tests.bench.records import RECORD

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = {"task": np.arange(18).reshape(2, 3, 3), "task.boundary": np.ones((2, 3, 3), int)}


def test_records_and_counts_come_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    written = store.write(RECORD, COUNTS)
    assert store.read("fake", "full", 0) == written
    assert store.read_all("fake", ["no-adapter", "full"]) == [written]
    assert store.read_all("fake", ["full"], [1]) == []
    assert store.read("fake", "full", 1) is None
    counts = store.counts(written)
    assert {name: array.tolist() for name, array in counts.items()} == {
        name: array.tolist() for name, array in COUNTS.items()
    }
    assert counts["task"].dtype == np.int32


def test_equal_counts_are_equal_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name / "runs/fake/full/seed0.npz" for name in ("a", "b")]
    Store(tmp_path / "a").write(RECORD, COUNTS)
    Store(tmp_path / "b").write(RECORD, dict(reversed(COUNTS.items())))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_kill_between_the_two_files_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.write(RECORD, COUNTS)

    def killed(path: Path, content: bytes) -> None:
        write_atomically(path, content)
        if path.suffix == ".npz":
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        store.write(RECORD, {"task": COUNTS["task"] + 1})
    assert store.read("fake", "full", 0) is None


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path, leftover = tmp_path / "table.csv", tmp_path / ".table.csv.0a1b.tmp"
    write_atomically(path, b"whole")
    leftover.write_bytes(b"ha")  # what a kill leaves behind, or another process is writing
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert leftover.exists()
    os.utime(leftover, (0, 0))
    write_atomically(path, b"newer")
    assert [item.name for item in tmp_path.iterdir()] == ["table.csv"]


def test_writing_the_same_run_again_never_takes_it_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, packed = Store(tmp_path), pack(RECORD, COUNTS)
    store.put(packed)

    def refused(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "write_atomically", refused)
    assert store.put(packed) == store.read("fake", "full", 0)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{}"])
def test_a_file_that_is_no_record_names_the_way_out(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    store.write(RECORD, COUNTS)
    store.record_path("fake", "full", 0).write_bytes(content)
    with pytest.raises(RecordError, match="python -m bench run fake --on-existing missing") as got:
        store.read("fake", "full", 0)
    assert str(got.value).startswith("runs/fake/full/seed0.json: ")
    assert str(tmp_path) not in str(got.value)


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(RECORD, COUNTS)
    store.record_path("fake", "full", 0).with_name("seed-notes.json").write_text("mine")
    assert len(store.read_all("fake", ["full"])) == 1
