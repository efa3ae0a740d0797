"""Which runs of a study are still to do, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.runs.provenance import commit, committed_text, unchanged_files
from bench.runs.record import RecordError
from bench.studies.slots import config_id, plain_config

if TYPE_CHECKING:
    from bench.choices import OnExisting
    from bench.runs.record import Conditions, RunRecord
    from bench.runs.store import RunId, Store
    from bench.studies.study import Study, Variant

INHERITED = "came with the checkout"
OTHER_CODE = "of commit"
"""In what is said of a done run whose code was another."""

SMOKE = "smoke"
"""The preset that proves the pipeline and supports no claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A variant and a seed, and why it is to be run or left."""

    variant: Variant
    seed: int
    reason: str
    record: RunRecord | None = None
    """The record that makes the run unnecessary."""

    @property
    def label(self) -> str:
        """`variant seed<k>`, as progress lines name it."""
        return f"{self.variant.name} seed{self.seed}"

    def left(self, record: RunRecord, here: str | None) -> PlannedRun:
        """This run with the record that makes it unnecessary; `here` is the commit of the code."""
        made_by, reason = record.provenance.commit, "already there"
        if made_by is not None and made_by != here:
            reason += f", {OTHER_CODE} {made_by[:8]}"
        return replace(self, record=record, reason=reason)


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of a request, in order."""

    runs: tuple[PlannedRun, ...]

    @property
    def todo(self) -> tuple[PlannedRun, ...]:
        """The runs to do."""
        return tuple(run for run in self.runs if run.record is None)

    @property
    def done(self) -> tuple[PlannedRun, ...]:
        """Those that are left as they are."""
        return tuple(run for run in self.runs if run.record is not None)

    def under(self, conditions: Conditions) -> Plan:
        """The plan where records of another protocol, other data or weights do not count."""
        return Plan(tuple(_under(conditions, run) for run in self.runs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for."""

    study: Study
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    preset: str
    on_existing: OnExisting = "missing"
    """`missing` runs again what failed, is broken or was made otherwise; `renew` also what came
    with the checkout, which is somebody else's run; `keep` leaves every file; `replace` runs
    everything."""


def plan_runs(request: Request, store: Store) -> Plan:
    """Compare what is asked for with what the store holds.

    Seeds come first in the order, so that an interrupted study holds whole comparisons. Protocol,
    data and weights are left uncompared: `Plan.under` compares them.

    Raises:
        BenchError: If `keep` meets a broken record, or `missing` would let a smoke run replace
            a record that supports claims.
    """
    inherited, here, runs = inherited_runs(request, store), commit(), []
    for seed in request.seeds:
        for variant in request.variants:
            run = PlannedRun(variant=variant, seed=seed, reason="new")
            reason, record = _judged(request, store, run, inherited)
            runs.append(run.left(record, here) if record else replace(run, reason=reason))
    return Plan(tuple(runs))


def inherited_runs(request: Request, store: Store) -> frozenset[RunId]:
    """The runs whose records are not to be trusted because somebody else committed them."""
    if request.on_existing != "renew":
        return frozenset()
    files, found = unchanged_files(store.root), set()
    for study in store.studies():
        lines = (committed_text(store.pack_path(study)) or "").split("\n")
        for run_id in store.run_ids(study):
            line = store.packed_line(run_id)
            if line in lines or store.record_path(*run_id).resolve() in files:
                found.add(run_id)
    return frozenset(found)


def _judged(
    request: Request, store: Store, run: PlannedRun, inherited: frozenset[RunId]
) -> tuple[str, RunRecord | None]:
    """Why a run is to be done, or the record that makes it unnecessary."""
    run_id = (request.study.name, run.variant.name, run.seed)
    if request.on_existing == "replace":
        there = run_id in store.run_ids(request.study.name)
        return ("replaces the record that is there" if there else run.reason), None
    try:
        record = store.read(*run_id)
    except RecordError as error:
        if request.on_existing == "keep":
            raise
        return f"broken record: {error}", None
    if record is None or request.on_existing == "keep":
        return run.reason, record
    stale = _staleness(record, run.variant, request)
    if not stale and run_id in inherited:
        stale = INHERITED
    return stale, None if stale else record


def _staleness(record: RunRecord, variant: Variant, request: Request) -> str:
    """In what a record is not the run that is asked for; empty if it is."""
    if record.preset != request.preset:
        if request.preset == SMOKE:
            raise BenchError(
                f"{record.run_id}: a smoke run would replace a record of preset "
                f"{record.preset!r}; give another --out, or --on-existing replace"
            )
        return f"was made with preset {record.preset}"
    if record.status == "failed":
        return "failed before"
    wanted = config_id(plain_config(variant.config))
    if record.config_id != wanted:
        return f"was made with config {record.config_id}, now {wanted}"
    return ""


def _under(conditions: Conditions, run: PlannedRun) -> PlannedRun:
    if run.record is None or run.record.conditions.fit(conditions):
        return run
    why = f"was made under conditions {run.record.conditions}, now {conditions}"
    return replace(run, record=None, reason=why)
