"""What runs are carried out with: a machine, a preset ready on it, and what a command says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.runs.provenance import collect
from bench.runs.record import Conditions
from bench.runs.run import Job
from weakclip.description import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bench.runs.plan import Request
    from bench.runs.run import Monitor
    from bench.runs.store import Store
    from bench.studies.study import Study
    from bench.studies.workbench import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a machine brings; picklable, because each worker process gets it."""

    prepare: Callable[[str], Workbench]
    """Preset to workbench. Cheap when called again: expensive products are kept on disk."""
    load: Callable[[str], Study]
    """Name to study."""
    device: str
    code: str
    """Id of the source code, as `bench.runs.provenance.code_id`; runs of another are left alone."""
    masks: Path | None = None
    """Folder for the masks of all training images of every run; absent: they are not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A preset, ready on this machine."""

    preset: str
    workbench: Workbench
    protocol: dict[str, object]
    data: dict[str, object]
    weights: dict[str, object]

    @property
    def conditions(self) -> Conditions:
        """Protocol, data and weights."""
        return Conditions.of(self.protocol, self.data, self.weights)


def set_up(site: Site, preset: str) -> Bench:
    """Prepare a preset.

    Raises:
        BenchError: If its data or weights are not usable, or its protocol is incomplete.
    """
    try:
        workbench = site.prepare(preset)
        parts = [_described(p) for p in (workbench.protocol, workbench.data, workbench.weights)]
    except (ValueError, OSError) as error:
        raise BenchError(f"preset {preset!r}: {error}") from error
    protocol, data, weights = parts
    splits = protocol.get("splits")
    if not isinstance(splits, dict) or set(splits) != set(workbench.tasks):
        raise BenchError(
            f"protocol of preset {preset!r}: expected `splits` with the tasks "
            f"{workbench.tasks}, got {splits}"
        )
    return Bench(preset=preset, workbench=workbench, protocol=protocol, data=data, weights=weights)


def job_of(
    bench: Bench, study: str, device: str, command: str, *, masks: Path | None = None
) -> Job:
    """Return what all runs of a study share."""
    return Job(
        study=study,
        preset=bench.preset,
        workbench=bench.workbench,
        protocol=bench.protocol,
        provenance=collect(device=device, command=command, data=bench.data, weights=bench.weights),
        masks=masks,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is the same for all studies of one command."""

    store: Store
    site: Site
    locks: Path
    """Folder of the locks of runs that are carried out without a queue."""
    storage: str | None
    """Where the queue is: URL of a database, or path of a journal file. None: without a queue this
    process does one run after the other."""
    workers: int
    """Runs at a time on this machine; 0 leaves them to others, 1 does them in this process."""
    command: str
    heartbeat: int
    """Seconds between two signs of life of a worker, in a database."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One study of a session, ready to be carried out."""

    session: Session
    request: Request
    bench: Bench
    job: Job
    monitor: Monitor


def _described(values: Mapping[str, object]) -> dict[str, object]:
    described = describe(dict(values))
    assert isinstance(described, dict)
    return described
