from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.errors import RecordError
from bench.runs import store as module
from bench.runs.scores import score
from bench.runs.store import Store, pack, write_atomically
from tests.bench.records import RECORD as RECORD_OF_NOTHING

COUNTS = {"task": np.arange(18).reshape(2, 3, 3), "task.boundary": np.ones((2, 3, 3), int)}
MEANS, CLASSES = score(COUNTS["task"], COUNTS["task.boundary"], ("background", "cat", "dog"))
RECORD = replace(RECORD_OF_NOTHING, metrics={"task": MEANS}, per_class={"task": CLASSES})


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


@pytest.mark.parametrize("name", ["seed00.json", "seed+0.json", "seed\u0660.json", "seed.json"])
def test_a_copy_of_a_record_is_no_second_seed(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    store.write(RECORD, COUNTS)
    path = store.record_path("fake", "full", 0)
    path.with_name(name).write_bytes(path.read_bytes())
    assert [record.seed for record in store.read_all("fake", ["full"])] == [0]


def edited(store: Store, **changes: object) -> None:
    """Change scores in the file of a record, as somebody with an editor would."""
    path = store.record_path("fake", "full", 0)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"task": MEANS | {"miou": 0.9}}}, "task: miou is 0.9, its counts say"),
        ({"metrics": {"task": MEANS | {"boundary_miou": None}}}, "task: boundary_miou is nan"),
        (
            {"metrics": {"task": {"pixel_accuracy": MEANS["pixel_accuracy"]}}},
            "is None, its counts say",
        ),
        (
            {"per_class": {"task": CLASSES | {"cat": CLASSES["cat"] | {"iou": 0.1}}}},
            "task: iou of cat is 0.1",
        ),
        ({"metrics": {}, "per_class": {}}, "expected metrics and counts of a finished run"),
        ({"metrics": {"other": MEANS}}, "expected scores and counts of the same tasks"),
        ({"per_class": {"task": {"cat": CLASSES["cat"]}}}, "task: counts: expected shape"),
    ],
)
def test_scores_are_compared_with_their_counts(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    store = Store(tmp_path)
    store.write(RECORD, COUNTS)
    edited(store, metrics={"task": MEANS | {"oracle_miou": 0.99}})  # counts do not say
    assert store.read("fake", "full", 0) is not None
    edited(store, **changes)
    with pytest.raises(RecordError, match=message) as caught:
        store.read_all("fake", ["full"])
    assert "python -m bench run fake --on-existing missing" in str(caught.value)


def test_a_class_that_is_nowhere_has_no_score_and_that_is_none(tmp_path: Path) -> None:
    store, counts = Store(tmp_path), {"task": COUNTS["task"] * np.array([1, 0, 1])[:, None]}
    means, classes = score(counts["task"], None, ("background", "cat", "dog"))
    store.write(replace(RECORD, metrics={"task": means}, per_class={"task": classes}), counts)
    assert store.read("fake", "full", 0) is not None


def test_a_folder_called_like_a_record_or_its_counts_is_one_line(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(RECORD, COUNTS)
    for suffix in (".npz", ".json"):
        path = store.record_path("fake", "full", 0).with_suffix(suffix)
        path.unlink()
        path.mkdir()
        with pytest.raises(RecordError, match=rf"seed0\{suffix}: cannot be read \(Is a directory"):
            store.read("fake", "full", 0)


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "table.csv", b"half")
    assert not list(tmp_path.iterdir())


def test_runs_are_listed_without_the_import_of_what_checks_records() -> None:
    code = "import sys, bench.runs.store; sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
