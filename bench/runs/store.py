"""The folder of run records: `runs/<study>/<variant>/seed<k>.json` and `.npz` beside it.

Every file is written under a temporary name and renamed, the .npz before the .json, so a .json
that exists belongs to a whole run. Whatever is read is checked all the same. Several processes may
write the same run: its bytes are those it has in the queue, and equal files are left alone.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bench.runs.record import RecordError, RunRecord, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    RunId: TypeAlias = tuple[str, str, int]
    """Study, variant, seed."""

BOUNDARY_SUFFIX = ".boundary"
"""`<task>` names the counts of a task, `<task>.boundary` those of its boundary pixels."""

CONFUSION_SUFFIX = ".confusion"
"""`<task>.confusion` is the confusion matrix of a task over all its images, (K, K + 1)."""

LEFTOVER_AGE = 3600.0
"""Seconds after which a temporary file is taken for one that a killed process left."""


@dataclass(frozen=True, slots=True)
class PackedRun:
    """The two files of a run as bytes: what is written to disk and travels between machines."""

    record: str
    """JSON text."""
    counts: bytes | None
    """The .npz file; none for a failed run."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Everything but the seed that decides what a run measures."""

    preset: str
    config_id: str
    conditions: str


class Store:
    """Reads and writes the records of all studies below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def record_path(self, study: str, variant: str, seed: int) -> Path:
        """Where the record of a run is or will be."""
        return self.root / "runs" / study / variant / f"seed{seed}.json"

    def read(self, study: str, variant: str, seed: int) -> RunRecord | None:
        """Return the record of a run, or none if there is no such file.

        Raises:
            RecordError: If the file, or the counts beside it, are not whole and consistent.
        """
        path = self.record_path(study, variant, seed)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise self._error(path, "not a text file", study) from error
        try:
            record = from_json(text, where=self._name(path))
        except RecordError as error:
            raise RecordError(f"{error}; {_way_out(study)}") from error
        if (record.study, record.variant, record.seed) != (study, variant, seed):
            raise self._error(path, f"holds the run {record.run_id}", study)
        if record.status == "ok":
            self._counts_bytes(record)
        return record

    def read_all(
        self, study: str, variants: Sequence[str], seeds: Sequence[int] | None = None
    ) -> list[RunRecord]:
        """Return the records that exist, in the order of `variants`, then by seed.

        Args:
            study: Name of the study.
            variants: Names of its variants; other folders are left alone.
            seeds: Seeds to read; none means all there are.
        """
        records = []
        for variant in variants:
            folder = self.record_path(study, variant, 0).parent
            names = (path.stem.removeprefix("seed") for path in folder.glob("seed*.json"))
            found = sorted(int(name) for name in names if name.isdecimal())
            for seed in found:
                if seeds is None or seed in seeds:
                    record = self.read(study, variant, seed)
                    if record is not None:  # another process may be replacing it
                        records.append(record)
        return records

    def copy_equal(
        self, run_id: RunId, like: Likeness, *, apart_from: frozenset[Path] = frozenset()
    ) -> RunRecord | None:
        """Give a run the finished record of an equal one of any study; none if there is none.

        Command, commit and time in the copy stay those of the run that was carried out.

        Args:
            run_id: Study, variant and seed of the new record.
            like: What the record must have been made with.
            apart_from: Records that are not to be copied, as resolved paths.
        """
        study, variant, seed = run_id
        for path in sorted((self.root / "runs").glob(f"*/*/seed{seed}.json")):
            if path.resolve() in apart_from:
                continue
            try:
                record = self.read(path.parent.parent.name, path.parent.name, seed)
            except RecordError:
                continue  # its own study says so
            if record is None or record.status != "ok":
                continue
            if like == Likeness(record.preset, record.config_id, record.conditions):
                counts = self._counts_bytes(record)
                copy = replace(record, study=study, variant=variant)
                return self.put(PackedRun(to_json(copy), counts))
        return None

    def counts(self, record: RunRecord) -> dict[str, NDArray[np.integer]]:
        """Return the per-image counts of a finished run, (N, K, 3) each, and its matrices."""
        with np.load(BytesIO(self._counts_bytes(record)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def write(
        self, record: RunRecord, counts: Mapping[str, NDArray[np.integer]] | None = None
    ) -> RunRecord:
        """Write a run's files, replacing older ones, and return the record as written."""
        return self.put(pack(record, counts))

    def put(self, packed: PackedRun) -> RunRecord:
        """Write the files of a packed run, replacing older ones, and return its record.

        Raises:
            RecordError: If the text is not a run record.
        """
        record = from_json(packed.record, where="a run from the queue")
        path = self.record_path(record.study, record.variant, record.seed)
        counts_path = path.with_suffix(".npz")
        if _content(counts_path) != packed.counts:
            path.unlink(missing_ok=True)  # from here on the older run is not taken for whole
            if packed.counts is None:
                counts_path.unlink(missing_ok=True)
            else:
                write_atomically(counts_path, packed.counts)
        if _content(path) != packed.record.encode():
            write_atomically(path, packed.record.encode())
        return record

    def _counts_bytes(self, record: RunRecord) -> bytes:
        path = self.record_path(record.study, record.variant, record.seed).with_suffix(".npz")
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise self._error(path, "missing beside its record", record.study) from error
        if hashlib.sha256(content).hexdigest() != record.counts_sha256:
            raise self._error(path, "not the file its record was written with", record.study)
        return content

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _error(self, path: Path, problem: str, study: str) -> RecordError:
        return RecordError(f"{self._name(path)}: {problem}; {_way_out(study)}")


def pack(record: RunRecord, counts: Mapping[str, NDArray[np.integer]] | None = None) -> PackedRun:
    """Return the files of a run; equal records and counts give equal bytes.

    Args:
        record: The record; the hash of its counts is filled in.
        counts: Per-image counts, (N, K, 3), and confusion matrices, (K, K + 1), by name; none for
            a failed run.
    """
    if counts is None:
        return PackedRun(to_json(record), None)
    content = _npz(counts)
    record = replace(record, counts_sha256=hashlib.sha256(content).hexdigest())
    return PackedRun(to_json(record), content)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there, also when the process is killed.

    Each writer has its own temporary file; old ones that killed processes left are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        _remove_if_old(leftover)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _remove_if_old(leftover: Path) -> None:
    try:
        if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE:
            leftover.unlink()
    except FileNotFoundError:
        pass  # its writer, or another process, was faster


def _content(path: Path) -> bytes | None:
    """The bytes of a file, or none if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _way_out(study: str) -> str:
    return f"`python -m bench run {study} --on-existing missing` runs it again"


def _npz(counts: Mapping[str, NDArray[np.integer]]) -> bytes:
    """Return the bytes of an .npz file; they depend on nothing but the numbers."""
    buffer = BytesIO()
    arrays = {
        name: np.asarray(counts[name], np.int64 if name.endswith(CONFUSION_SUFFIX) else np.int32)
        for name in sorted(counts)
    }
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
