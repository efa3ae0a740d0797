"""The folder of run records: `runs/<study>/<variant>/seed<k>.json` with an `.npz`, or packed.

Every file is written under a temporary name and renamed, the .npz before the .json, so that a
.json file that exists belongs to a complete run. Files are checked when read nevertheless. Several
processes may write the same run: the queue gives them the same bytes, and equal files are not
rewritten.

`Store.pack_study` moves the runs of a study into few files (`bench.runs.packs`). If a run has files
of its own and is packed as well, its own files are used.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bench.errors import RecordError
from bench.runs.packs import counts_of, files_named_in, lines_of, packed_files, record_text
from weakclip.data.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.runs.packs import Row
    from bench.runs.record import Conditions, RunRecord

    RunId: TypeAlias = tuple[str, str, int]
    """Study, variant, seed."""

RUNS = "runs"

BOUNDARY_SUFFIX = ".boundary"
"""The array `<task>` has the counts of a task, `<task>.boundary` those near contours."""

CONFUSION_SUFFIX = ".confusion"
"""`<task>.confusion` is the confusion matrix of a task over all its images, (K, K + 1)."""

CELLS, GROUPS = ".cells.", ".groups."
"""`<task>.cells.<view>` has the pixel counts of a task by group, (M, 5), and
`<task>.groups.<view>` the names of the groups; runs of older code have neither."""

Array: TypeAlias = "NDArray[np.integer] | NDArray[np.str_]"


def cells_name(task: str, view: str) -> str:
    """Name of the array with the cells of a view of a task."""
    return task + CELLS + view


def groups_name(task: str, view: str) -> str:
    """Name of the array with the names of the groups of a view of a task."""
    return task + GROUPS + view


_RECORD = re.compile(r"seed(0|[1-9][0-9]{0,18})\.json")
"""File names of `record_path`; `seed00.json` is a user's copy and not a second seed 0."""

LEFTOVER_AGE = 3600.0
"""Age in seconds from which a temporary file counts as left by a killed process."""


@dataclass(frozen=True, slots=True)
class PackedRun:
    """The contents of the two files of a run, as written to disk and sent between machines."""

    record: str
    """JSON text."""
    counts: bytes | None
    """The .npz file; None for a failed run."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Everything except the seed that determines the result of a run."""

    preset: str
    config_id: str
    conditions: Conditions

    def fits(self, other: Likeness) -> bool:
        """Whether the two are equal; unknown contents of files are not compared."""
        same = (self.preset, self.config_id) == (other.preset, other.config_id)
        return same and self.conditions.fit(other.conditions)


class Store:
    """Reads and writes the records of all studies below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def record_path(self, study: str, variant: str, seed: int) -> Path:
        """Path of the record of a run that is not packed."""
        return self.root / RUNS / study / variant / f"seed{seed}.json"

    def pack_path(self, study: str) -> Path:
        """Path of the packed records of a study."""
        return self.root / RUNS / f"{study}.jsonl"

    def studies(self) -> list[str]:
        """Names of the studies that have records."""
        paths = list((self.root / RUNS).glob("*"))
        packed = {path.stem for path in paths if path.suffix == ".jsonl"}
        return sorted(packed | {path.name for path in paths if path.is_dir()})

    def run_ids(self, study: str) -> list[RunId]:
        """The runs of a study that have a record, including broken records."""
        loose = (self.root / RUNS / study).glob("*/seed*.json")
        names = [(path.parent.name, _RECORD.fullmatch(path.name)) for path in loose]
        rows = {(variant, int(name[1])) for variant, name in names if name}
        return sorted((study, *row) for row in rows | lines_of(self.pack_path(study)).keys())

    def packed_line(self, run_id: RunId) -> str | None:
        """The line of a run in the pack; None if it is not packed, or has files of its own."""
        if self.record_path(*run_id).exists():
            return None
        return lines_of(self.pack_path(run_id[0])).get(run_id[1:])

    def read(self, study: str, variant: str, seed: int) -> RunRecord | None:
        """Return the record of a run, or None if there is none.

        Raises:
            RecordError: If the record or its counts are incomplete or inconsistent.
        """
        record = self._record(study, variant, seed)
        if record is not None and record.status == "ok":
            self._check_scores(record)
        return record

    def _record(self, study: str, variant: str, seed: int) -> RunRecord | None:
        """The record; its counts are not read."""
        from bench.runs.record import from_json

        path = self.record_path(study, variant, seed)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            line = lines_of(self.pack_path(study)).get((variant, seed))
            if line is None:
                return None
            text = record_text(line)
        except UnicodeDecodeError as error:
            raise self._error(path, "not a text file", study) from error
        except OSError as error:
            raise self._error(path, f"cannot be read ({error.strerror})", study) from error
        try:
            record = from_json(text, where=self._name(path))
        except RecordError as error:
            raise RecordError(f"{error}; {_way_out(study)}") from error
        if (record.study, record.variant, record.seed) != (study, variant, seed):
            raise self._error(path, f"holds the run {record.run_id}", study)
        return record

    def read_all(
        self, study: str, variants: Sequence[str], seeds: Sequence[int] | None = None
    ) -> list[RunRecord]:
        """Return the records that exist, in the order of `variants`, then by seed.

        Args:
            study: Name of the study.
            variants: Names of its variants; others are not read.
            seeds: Seeds to read; None means all.
        """
        records = []
        there = self.run_ids(study)
        for name in variants:
            for _, variant, seed in there:
                if variant == name and (seeds is None or seed in seeds):
                    record = self.read(study, variant, seed)
                    if record is not None:  # another process may be replacing it
                        records.append(record)
        return records

    def copy_equal(
        self, run_id: RunId, like: Likeness, *, apart_from: frozenset[RunId] = frozenset()
    ) -> RunRecord | None:
        """Copy the finished record of an equal run of any study; None if there is none.

        The copy keeps command, commit and time of the run that was carried out.

        Args:
            run_id: Study, variant and seed of the new record.
            like: Preset, configuration and conditions that the record must have.
            apart_from: Runs whose records must not be copied.
        """
        study, variant, seed = run_id
        there = [one for name in self.studies() for one in self.run_ids(name) if one[2] == seed]
        for other in there:
            if other in apart_from:
                continue
            try:
                record = self._record(*other)
                if record is None or record.status != "ok":
                    continue
                if like.fits(Likeness(record.preset, record.config_id, record.conditions)):
                    self._check_scores(record)
                    return self.write(
                        replace(record, study=study, variant=variant), self.counts(record)
                    )
            except RecordError:
                continue  # a report of its own study shows the error
        return None

    def counts(self, record: RunRecord) -> dict[str, NDArray[np.integer]]:
        """Return the arrays of a finished run by name: counts, (N, K, 3) each, and all others."""
        line = self.packed_line((record.study, record.variant, record.seed))
        if line is not None:
            try:
                return counts_of(self.pack_path(record.study), line)
            except RecordError as error:
                raise RecordError(f"{error}; {_way_out(record.study)}") from error
        with np.load(BytesIO(self._counts_bytes(record)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def write(self, record: RunRecord, counts: Mapping[str, Array] | None = None) -> RunRecord:
        """Write a run's files, replacing older ones, and return the record as written."""
        return self.put(pack(record, counts))

    def put(self, packed: PackedRun) -> RunRecord:
        """Write the files of a packed run, replacing older ones, and return its record.

        Raises:
            RecordError: If the text is not a run record.
        """
        from bench.runs.record import from_json

        record = from_json(packed.record, where="a run from the queue")
        path = self.record_path(record.study, record.variant, record.seed)
        counts_path = path.with_suffix(".npz")
        if _content(counts_path) != packed.counts:
            path.unlink(missing_ok=True)  # so that the old run does not look complete
            if packed.counts is None:
                counts_path.unlink(missing_ok=True)
            else:
                write_atomically(counts_path, packed.counts)
        if _content(path) != packed.record.encode():
            write_atomically(path, packed.record.encode())
        return record

    def pack_study(self, study: str) -> int:
        """Move the files of a study's runs into its pack; runs that are packed stay unchanged.

        Each run is read back before its files are removed. No run of the study may be in progress.

        Returns:
            Number of runs that were moved.

        Raises:
            RecordError: If a record is broken.
        """
        from bench.runs.record import from_json, to_json

        path = self.pack_path(study)
        lines = lines_of(path)
        ids = [run_id for run_id in self.run_ids(study) if self.packed_line(run_id) is None]
        if not ids:
            self._tidy(study, lines)  # remove files that a killed process left
            return 0
        runs = []
        for run_id in ids:
            record = self.read(*run_id)
            if record is not None:
                runs.append((record, self.counts(record) if record.status == "ok" else None))
        files, text = packed_files(study, lines, runs)
        for name, content in files.items():
            write_atomically(path.with_name(name), content)
        write_atomically(path, text.encode())
        lines = lines_of(path)
        for record, counts in runs:
            line = lines[record.variant, record.seed]
            same = to_json(from_json(record_text(line), where=path.name)) == to_json(record)
            if counts is not None:
                back = counts_of(path, line)
                same &= back.keys() == counts.keys() and all(
                    np.array_equal(back[name], counts[name]) for name in counts
                )
            if not same:
                raise self._error(path, f"{record.run_id} was not written as it is", study)
        for run_id in ids:
            self.record_path(*run_id).unlink(missing_ok=True)
        self._tidy(study, lines)
        return len(ids)

    def _tidy(self, study: str, lines: Mapping[Row, str]) -> None:
        """Remove files of counts that no record refers to."""
        for row in lines:
            path = self.record_path(study, *row)
            if not path.exists():
                path.with_suffix(".npz").unlink(missing_ok=True)
                _remove_if_empty(path.parent)
        _remove_if_empty(self.root / RUNS / study)
        used = files_named_in(lines)
        for file in (self.root / RUNS).glob(f"{study}.*.npz"):
            if file.name not in used:
                file.unlink()

    def _check_scores(self, record: RunRecord) -> None:
        """Compare every score that can be computed from the counts with the recorded one.

        Raises:
            RecordError: If a score is missing or differs.
        """
        from bench.runs.scores import score  # imports torch

        path = self.record_path(record.study, record.variant, record.seed)
        counts = self.counts(record)
        tasks = [name for name in counts if _is_task(name)]
        if not set(tasks) == set(record.metrics) == set(record.per_class):
            got = f"counts of {sorted(tasks)}, scores of {sorted(record.metrics)}"
            raise self._error(path, f"expected scores and counts of the same tasks, got {got}",
                              record.study)  # fmt: skip
        for task in tasks:
            names, boundary = list(record.per_class[task]), counts.get(task + BOUNDARY_SUFFIX)
            try:
                means, classes = score(counts[task], boundary, names)
            except ValueError as error:
                raise self._error(path, f"{task}: {error}", record.study) from error
            wanted = {**means, **_flat(classes)}
            found = {**record.metrics[task], **_flat(record.per_class[task])}
            for name, value in wanted.items():
                if not _equal(found.get(name), value):
                    raise self._error(
                        path, f"{task}: {name} is {found.get(name)}, its counts say {value}",
                        record.study,
                    )  # fmt: skip

    def _counts_bytes(self, record: RunRecord) -> bytes:
        path = self.record_path(record.study, record.variant, record.seed).with_suffix(".npz")
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise self._error(path, "missing beside its record", record.study) from error
        except OSError as error:
            raise self._error(path, f"cannot be read ({error.strerror})", record.study) from error
        if hashlib.sha256(content).hexdigest() != record.counts_sha256:
            raise self._error(path, "not the file its record was written with", record.study)
        return content

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _error(self, path: Path, problem: str, study: str) -> RecordError:
        return RecordError(f"{self._name(path)}: {problem}; {_way_out(study)}")


def pack(record: RunRecord, counts: Mapping[str, Array] | None = None) -> PackedRun:
    """Return the files of a run; equal records and counts give equal bytes.

    Args:
        record: The record; the hash of its counts is filled in.
        counts: Per-image counts, (N, K, 3), confusion matrices, (K, K + 1), and cells, (M, 5), by
            name; None for a failed run.
    """
    from bench.runs.record import to_json

    if counts is None:
        return PackedRun(to_json(record), None)
    content = _npz(counts)
    record = replace(record, counts_sha256=hashlib.sha256(content).hexdigest())
    return PackedRun(to_json(record), content)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically: it is complete or absent even if the process is killed.

    Old temporary files of killed processes are removed; the folder is made if necessary.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        _remove_if_old(leftover)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _remove_if_old(leftover: Path) -> None:
    try:
        if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE:
            leftover.unlink()
    except FileNotFoundError:
        pass  # its writer or another process has removed it


def _is_task(name: str) -> bool:
    """Whether an array has the counts of a task, to judge by its name."""
    more = name.endswith((BOUNDARY_SUFFIX, CONFUSION_SUFFIX))
    return not more and CELLS not in name and GROUPS not in name


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # not empty, or no such folder
        folder.rmdir()


def _flat(classes: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{metric} of {name}": value for name, scores in classes.items()
            for metric, value in scores.items()}  # fmt: skip


def _equal(found: float | None, value: float) -> bool:
    """Whether two scores are equal up to rounding; NaN, of an absent class, equals NaN."""
    if found is None or math.isnan(found) or math.isnan(value):
        return found is not None and math.isnan(found) and math.isnan(value)
    return math.isclose(found, value, rel_tol=1e-6, abs_tol=1e-9)


def _content(path: Path) -> bytes | None:
    """The bytes of a file, or None if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _way_out(study: str) -> str:
    return f"`python -m bench run {study} --on-existing missing` runs it again"


def _npz(counts: Mapping[str, Array]) -> bytes:
    """Return the bytes of an .npz file; equal arrays give equal bytes."""
    buffer = BytesIO()
    arrays: dict[str, Any] = {name: _stored(name, counts[name]) for name in sorted(counts)}
    np.savez_compressed(buffer, **arrays)  # `allow_pickle` would be an array in NumPy 1.26
    return buffer.getvalue()


def _stored(name: str, array: Array) -> Array:
    """An array in its stored type and order; column order halves the file size of cells."""
    if GROUPS in name:
        return np.asarray(array, np.str_)
    if name.endswith(CONFUSION_SUFFIX):
        return np.asarray(array, np.int64)
    return np.array(array, np.int32, order="F" if CELLS in name else "C")
