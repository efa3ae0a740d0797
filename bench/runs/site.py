"""The context of runs: a machine, a preset that is prepared on it, and a command's options."""

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
    """The settings of a machine; picklable, because each worker process gets a copy."""

    prepare: Callable[[str], Workbench]
    """Preset -> workbench. A second call is cheap, because expensive products are kept on disk."""
    load: Callable[[str], Study]
    """Name -> study."""
    device: str
    code: str
    """Id of the source code (`bench.runs.provenance.code_id`); other code's runs are not taken."""
    masks: Path | None = None
    """Folder for the masks of all training images of every run; None: they are not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A preset that is prepared on this machine."""

    preset: str
    workbench: Workbench
    protocol: dict[str, object]
    data: dict[str, object]
    weights: dict[str, object]

    @property
    def conditions(self) -> Conditions:
        """The id of protocol, data and weights."""
        return Conditions.of(self.protocol, self.data, self.weights)


def set_up(site: Site, preset: str) -> Bench:
    """Prepare a preset.

    Raises:
        BenchError: If its data or weights cannot be used, or its protocol is incomplete.
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
    """Return the parts that all runs of a study share."""
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
    """The settings that all studies of one command share."""

    store: Store
    site: Site
    locks: Path
    """Folder of the locks of runs that are carried out without a queue."""
    storage: str | None
    """The queue: URL of a database, or path of a journal file. None: no queue; this process does
    one run after the other."""
    workers: int
    """Concurrent runs on this machine. 0: other machines do them; 1: this process does them."""
    command: str
    heartbeat: int
    """Seconds between two heartbeats of a worker; used with a database."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One study of a session with its prepared preset."""

    session: Session
    request: Request
    bench: Bench
    job: Job
    monitor: Monitor


def _described(values: Mapping[str, object]) -> dict[str, object]:
    described = describe(dict(values))
    assert isinstance(described, dict)
    return described
