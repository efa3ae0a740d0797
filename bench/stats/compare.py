"""The paired difference of two rows, of one study or of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import BenchError, unknown
from bench.stats.effects import counts_by_row, difference_of, runs_on, tasks_of

if TYPE_CHECKING:
    from bench.runs.record import RunRecord
    from bench.runs.store import Store
    from bench.stats.statistics import Difference


def compare(store: Store, first: str, second: str) -> dict[str, Difference]:
    """Return task -> paired difference of two rows, first minus second, on the seeds of both.

    Rows are given as `study/variant`.

    Raises:
        BenchError: If a row is unknown or has no finished runs, the two have no seed in common, or
            differ in preset, protocol, data or weights.
    """
    rows = [_finished(store, name) for name in (first, second)]
    (one, *_), (two, *_) = rows
    if one.preset != two.preset or not one.conditions.fit(two.conditions):
        raise BenchError(
            f"compare: expected the same preset, protocol, data and weights, got {one.preset} "
            f"({one.conditions}) and {two.preset} ({two.conditions}); run one of them again"
        )
    counts = [(counts_by_row(row, store), row[0].variant) for row in rows]
    differences = {}
    for task in tasks_of(rows[0]):
        mine, theirs = (runs_on(by_row, name, task) for by_row, name in counts)
        value = difference_of(mine, theirs)
        if value is not None:
            differences[task] = value
    if not differences:
        raise BenchError(f"compare: {first} and {second} have no seed in common")
    return differences


def _finished(store: Store, name: str) -> list[RunRecord]:
    ids = (run_id for study in store.studies() for run_id in store.run_ids(study))
    known = list(dict.fromkeys(f"{study}/{variant}" for study, variant, _ in ids))
    if name not in known:
        raise unknown("row (study/variant)", name, known)
    study, variant = name.split("/")
    records = [record for record in store.read_all(study, [variant]) if record.status == "ok"]
    if not records:
        raise BenchError(f"{name}: expected finished runs, got none; `python -m bench run {study}`")
    return records
