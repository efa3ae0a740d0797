"""Records of a study in few files: equal to the files of the runs, at every moment of packing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.errors import RecordError
from bench.runs import store as module
from bench.runs.record import RunRecord, to_json
from bench.runs.scores import score
from bench.runs.store import Store, write_atomically
from tests.bench.fake import CLASSES, STUDY, make_records
from tests.bench.records import RECORD
from tests.bench.stats.test_diagnosis import SEEDS, TASK, records

ROWS = [row.name for row in STUDY.rows]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten finished runs."""
    root = tmp_path_factory.mktemp("made")
    make_records(Store(root), STUDY.seeds)
    return root


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    """A copy of them."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    return Store(tmp_path)


def content(store: Store) -> list[object]:
    """Text and counts of all records."""
    found: list[object] = []
    for record in store.read_all("fake", ROWS):
        arrays = store.counts(record) if record.status == "ok" else {}
        counts = {name: (array.dtype.str, array.tolist()) for name, array in arrays.items()}
        found.append([to_json(record), counts])
    return found


def failed(seed: int) -> RunRecord:
    return replace(RECORD, seed=seed, status="failed", error="OSError: full", counts_sha256=None)


def files(store: Store) -> list[str]:
    runs = store.root / "runs"
    return sorted(path.relative_to(runs).as_posix() for path in runs.rglob("*") if path.is_file())


def counts_files(store: Store) -> list[str]:
    return [name for name in files(store) if name.endswith(".npz")]


def test_a_pack_is_two_files_that_read_as_the_files_of_the_runs(store: Store) -> None:
    store.write(failed(7))
    before, ids = content(store), store.run_ids("fake")
    assert store.pack_study("fake") == 11
    names = files(store)
    assert len(names) == 2
    assert content(store) == before
    assert store.run_ids("fake") == ids
    assert store.studies() == ["fake"]
    assert store.pack_study("fake") == 0
    assert files(store) == names


def test_equal_runs_are_equal_bytes(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    shutil.copytree(tmp_path / "runs", other.root / "runs")
    for each in (store, other):
        each.pack_study("fake")
    for name in files(store):
        assert (store.root / "runs" / name).read_bytes() == (
            other.root / "runs" / name
        ).read_bytes()


def test_a_later_run_counts_before_its_packed_one_and_gets_a_file_of_its_own(store: Store) -> None:
    store.pack_study("fake")
    (first,) = counts_files(store)
    old = store.read("fake", "full", 0)
    assert old is not None
    new = replace(old, seconds={"train": 99.0})
    counts = store.counts(old)
    store.write(new, counts)
    before = content(store)
    there = store.read("fake", "full", 0)
    assert there is not None
    assert to_json(there) == to_json(new)
    assert store.pack_study("fake") == 1
    assert content(store) == before
    assert first in counts_files(store)
    assert len(counts_files(store)) == 2
    for record in store.read_all("fake", ROWS):
        store.write(replace(record, seconds={"train": 1.0}), store.counts(record))
    store.pack_study("fake")
    assert counts_files(store) == [first]  # equal counts of the same runs


def test_runs_of_other_shapes_share_a_pack(store: Store) -> None:
    record = store.read("fake", "full", 0)
    assert record is not None
    store.write(replace(record, seed=5), {n: a for n, a in store.counts(record).items()
                                          if not n.endswith(".confusion")})  # fmt: skip
    before = content(store)
    store.pack_study("fake")
    assert content(store) == before


def test_cells_of_which_each_run_has_another_number_share_a_group(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for record in records(store, (True,) * SEEDS):
        counts = store.counts(record)
        means, classes = score(counts[TASK], None, CLASSES)
        store.write(replace(record, metrics={TASK: means}, per_class={TASK: classes}), counts)
    before = content(store)
    lengths = {
        len(store.counts(each)["task.cells.contour"]) for each in store.read_all("fake", ROWS)
    }
    assert len(lengths) > 1
    store.pack_study("fake")
    assert content(store) == before
    (file,) = (tmp_path / "runs").glob("*.npz")
    with np.load(file) as arrays:
        assert arrays["0/task"].shape[-1] == len(before)
        assert {f"0/task.cells.contour/{column}" for column in range(3)} < set(arrays.files)


def test_two_packs_merge_line_by_line(store: Store, tmp_path: Path) -> None:
    """As git merges two branches that packed different runs."""
    before = content(store)
    left, right = Store(tmp_path / "left"), Store(tmp_path / "right")
    for side, seed in ((left, 0), (right, 1)):
        for record in store.read_all("fake", ROWS, [seed]):
            side.write(record, store.counts(record))
        side.pack_study("fake")
    lines = [side.pack_path("fake").read_text() for side in (left, right)]
    shutil.copytree(right.root / "runs", left.root / "runs", dirs_exist_ok=True)
    left.pack_path("fake").write_text("".join(lines))
    assert content(left) == before


@pytest.mark.parametrize("moment", range(9))
def test_a_kill_while_packing_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Before each of the writes and removals."""
    store.pack_study("fake")
    record = store.read("fake", "full", 0)
    assert record is not None
    for seed in (0, 5, 6):
        store.write(replace(record, seed=seed, seconds={"train": 2.0}), store.counts(record))
    before, left, unlink = content(store), moment, Path.unlink

    def die() -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1

    def write(path: Path, data: bytes) -> None:
        die()
        write_atomically(path, data)

    def remove(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix in (".json", ".npz") and path.exists():
            die()
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_atomically", write)
        patch.setattr(Path, "unlink", remove)
        try:
            store.pack_study("fake")
        except KeyboardInterrupt:
            assert moment < 8
        else:
            assert moment >= 8
    assert content(store) == before
    store.pack_study("fake")
    assert content(store) == before
    assert not list(store.root.rglob("seed*"))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda text: text[: len(text) // 2], r"line [56] is no packed record"),
        (lambda text: "<<<<<<< ours\n" + text, "line 1 is no packed record"),
        (lambda text: text + text.splitlines()[0] + "\n", "a second baseline seed0"),
        (lambda text: text.replace('"packed":{', '"packed":{"x":0},"y":{', 1), "line 1"),
    ],
)
def test_a_damaged_pack_is_one_line(store: Store, damage: object, problem: str) -> None:
    store.pack_study("fake")
    path = store.pack_path("fake")
    assert callable(damage)
    path.write_text(damage(path.read_text()))
    with pytest.raises(RecordError, match=problem) as caught:
        store.read_all("fake", ROWS)
    assert "git checkout -- fake.jsonl" in str(caught.value)
    assert str(store.root) not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"", lambda b: b + b"x", None])
def test_damaged_or_missing_counts_are_one_line(store: Store, damage: object) -> None:
    store.pack_study("fake")
    path = store.root / "runs" / counts_files(store)[0]
    if callable(damage):
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises(RecordError, match=r"runs/fake.jsonl: counts .* cannot be read") as caught:
        store.read("fake", "full", 0)
    assert "--on-existing missing` runs it again" in str(caught.value)


def test_scores_of_a_packed_record_are_compared_with_their_counts(store: Store) -> None:
    store.pack_study("fake")
    path = store.pack_path("fake")
    record = store.read("fake", "baseline", 0)
    assert record is not None
    miou = str(next(iter(record.metrics.values()))["miou"])
    assert path.read_text().count(miou)
    path.write_text(path.read_text().replace(f'"miou":{miou}', '"miou":0.125', 1))
    with pytest.raises(RecordError, match=r"miou is 0.125, its counts say"):
        store.read("fake", "baseline", 0)


def test_numpy_reads_the_counts(store: Store) -> None:
    store.pack_study("fake")
    with np.load(store.root / "runs" / counts_files(store)[0], allow_pickle=False) as arrays:
        assert {array.shape[-1] for array in arrays.values()} == {10}
