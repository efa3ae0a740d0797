"""Which runs of a study are still to do, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from bench.errors import BenchError
from bench.runs.provenance import unchanged_files
from bench.runs.record import RecordError
from bench.studies.slots import config_id, plain_config

if TYPE_CHECKING:
    from pathlib import Path

    from bench.runs.record import RunRecord
    from bench.runs.store import Store
    from bench.studies.study import Study, Variant

OnExisting: TypeAlias = Literal["missing", "renew", "keep", "replace"]
INHERITED = "came with the checkout"

SMOKE = "smoke"
"""The preset that proves the pipeline and supports no claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A variant and a seed, and why it is to be run or left."""

    variant: Variant
    seed: int
    reason: str

    @property
    def label(self) -> str:
        """`variant seed<k>`, as progress lines name it."""
        return f"{self.variant.name} seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The runs to do, in order, and those that are left as they are."""

    todo: tuple[PlannedRun, ...]
    done: tuple[PlannedRun, ...]


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
    conditions: str | None = None
    """Id of protocol, data and weights; none leaves them uncompared."""


def plan_runs(request: Request, store: Store) -> Plan:
    """Compare what is asked for with what the store holds.

    Seeds come first in the order, so that an interrupted study holds whole comparisons.

    Raises:
        BenchError: If `keep` meets a broken record, or `missing` would let a smoke run replace
            a record that supports claims.
    """
    todo: list[PlannedRun] = []
    done: list[PlannedRun] = []
    inherited = inherited_files(request, store)
    for seed in request.seeds:
        for variant in request.variants:
            reason = _reason(request, store, variant, seed)
            path = store.record_path(request.study.name, variant.name, seed).resolve()
            if not reason and path in inherited:
                reason = INHERITED
            run = PlannedRun(variant=variant, seed=seed, reason=reason or "already there")
            (todo if reason else done).append(run)
    return Plan(todo=tuple(todo), done=tuple(done))


def inherited_files(request: Request, store: Store) -> frozenset[Path]:
    """The records that are not to be trusted because somebody else committed them."""
    return unchanged_files(store.root) if request.on_existing == "renew" else frozenset()


def _reason(request: Request, store: Store, variant: Variant, seed: int) -> str:
    """Why a run is to be done; empty if it is not."""
    if not store.record_path(request.study.name, variant.name, seed).exists():
        return "new"
    if request.on_existing == "replace":
        return "replaces the record that is there"
    try:
        record = store.read(request.study.name, variant.name, seed)
    except RecordError as error:
        if request.on_existing == "keep":
            raise
        return f"broken record: {error}"
    if request.on_existing == "keep" or record is None:
        return ""
    return _staleness(record, variant, request)


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
    if request.conditions is not None and record.conditions != request.conditions:
        return f"was made under conditions {record.conditions}, now {request.conditions}"
    return ""
