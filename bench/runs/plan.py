"""The plan of a study: which runs have to be carried out, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.errors import BenchError, RecordError
from bench.runs.provenance import commit, committed_text, unchanged_files
from bench.studies.slots import config_id, plain_config

if TYPE_CHECKING:
    from bench.choices import OnExisting
    from bench.runs.record import Conditions, RunRecord
    from bench.runs.store import RunId, Store
    from bench.studies.study import Study, Variant

INHERITED = "came with the checkout"
OTHER_CODE = "of commit"
"""Part of the reason of a done run whose record was made by other code."""

SMOKE = "smoke"
"""The preset that tests the pipeline and supports no claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A variant and a seed, and the reason to run it or not."""

    variant: Variant
    seed: int
    reason: str
    record: RunRecord | None = None
    """The record that makes the run unnecessary."""

    @property
    def label(self) -> str:
        """`variant seed<k>`, its name in progress output."""
        return f"{self.variant.name} seed{self.seed}"

    def left(self, record: RunRecord, here: str | None) -> PlannedRun:
        """This run marked as done by a record; `here` is the commit of the checkout."""
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
        """The runs whose records are kept."""
        return tuple(run for run in self.runs if run.record is not None)

    def under(self, conditions: Conditions) -> Plan:
        """The plan in which records with another protocol, data or weights are run again."""
        return Plan(tuple(_under(conditions, run) for run in self.runs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The runs of a study that a command asks for."""

    study: Study
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    preset: str
    on_existing: OnExisting = "missing"
    """What to do about existing records. `missing` runs again what failed, is broken or has another
    configuration or conditions; `renew` also runs again what is committed in the checkout, because
    someone else ran it; `keep` leaves every record; `replace` runs everything."""


def plan_runs(request: Request, store: Store) -> Plan:
    """Compare the requested runs with the records in the store.

    All variants of a seed come before the next seed, so that an interrupted study has complete
    comparisons. Protocol, data and weights are not compared here but by `Plan.under`.

    Raises:
        BenchError: If `keep` finds a broken record, or a smoke run would replace the record of
            another preset.
    """
    inherited, here, runs = inherited_runs(request, store), commit(), []
    for seed in request.seeds:
        for variant in request.variants:
            run = PlannedRun(variant=variant, seed=seed, reason="new")
            reason, record = _judged(request, store, run, inherited)
            runs.append(run.left(record, here) if record else replace(run, reason=reason))
    return Plan(tuple(runs))


def inherited_runs(request: Request, store: Store) -> frozenset[RunId]:
    """For `renew`, the runs whose records are committed in the checkout; otherwise none."""
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
    """The reason to carry out a run, or the record that makes it unnecessary."""
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
    """How a record differs from the requested run; empty if it does not."""
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
