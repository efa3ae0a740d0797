"""A queue of runs, kept as the trials of an Optuna storage, for any number of workers.

Optuna provides the storages (a journal file for one machine, a database for several), the atomic
change from waiting to running, and heartbeats. The methods of its storages are called directly to
take a particular trial, to set an attribute of a trial of another process, and to record a
heartbeat, which its studies do not offer. One trial is one attempt at one run:

    waiting -> running -> done       the trial holds the record and counts
                       -> returned   its worker died or returned it; a later trial continues
            -> duplicate             there was an earlier trial of the same run

Every change is one atomic operation of the storage. `recover`, which any process may call at any
time, completes the changes that a killed process left undone. So no run is lost or recorded twice.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import platform
import threading
import time
import warnings
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState, create_trial

from bench.choices import HEARTBEAT
from bench.console import say
from bench.errors import BenchError
from bench.runs.journal import JournalLock, finished_runs, free_name, run_name, salvage
from bench.runs.store import write_atomically
from bench.runs.ticket import Entry, Ticket, deaths_of, given_up, is_duplicate, latest_of
from weakclip.data.artifacts import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from bench.runs.journal import Salvage
    from bench.runs.store import PackedRun
    from bench.runs.ticket import State

logger = logging.getLogger(__name__)

NAME = "weakclip-bench"
"""Name of the Optuna study that holds the runs of all studies."""
PATIENCE = 600.0
"""Seconds for which an operation is retried while the database does not answer."""
_RETRY, _ATTEMPTS = 1.0, 3
_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
    TrialState.FAIL: "returned",
    TrialState.PRUNED: "duplicate",
}
_TICKET, _ORDER, _CLAIM, _STEP, _RETURNED, _RESULT = (
    *("ticket", "order", "claim", "step", "returned", "result"),
)
"""Names of the user attributes of a trial."""


_DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    RecursionError,
    NotImplementedError,
)
"""Exceptions that Optuna raises on damaged content."""


class DamagedQueue(BenchError):  # noqa: N818 (it is the queue that is damaged)
    """The storage holds content that no queue has written."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that this process has taken."""

    entry: Entry
    lease: FileLock | Pulse
    """On one machine a file lock, which the kernel releases when the process ends for any reason.
    Across machines the worker records heartbeats in the database instead."""
    start: float = field(default_factory=time.monotonic)
    """Time at which it was taken, by this process's monotonic clock."""


class Pulse:
    """Calls `beat` every `every` seconds in a thread; a call that fails does not stop it."""

    def __init__(self, beat: Callable[[], None], every: float) -> None:
        """Start the thread; the first call comes after `every` seconds."""
        self._beat, self._every = beat, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop and wait for the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._beat()
            except Exception as error:  # the next call may succeed
                logger.warning("no sign of life could be left: %s", type(error).__name__)


class Queue:
    """The runs in one storage."""

    def __init__(
        self,
        storage: BaseStorage,
        locks: Path | None,
        heartbeat: int,
        *,
        journal: Path | None = None,
        database: RDBStorage | None = None,
    ) -> None:
        """Open a queue; use `open_queue`, which makes the arguments.

        Args:
            storage: Storage of the trials.
            locks: Folder of the locks of running trials; None: the database has heartbeats.
            heartbeat: Seconds between two heartbeats.
            journal: The journal file, if the storage is one.
            database: The database, if the storage is one.
        """
        self._database, self._journal = database, journal
        self.storage, self._locks, self._heartbeat = storage, locks, heartbeat
        self._study = _patiently(
            partial(
                optuna.create_study,
                storage=storage,
                study_name=NAME,
                load_if_exists=True,
                direction="maximize",
            )
        )
        self._study_id = _patiently(partial(storage.get_study_id_from_name, NAME))
        self._file = None if journal is None else journal.stat().st_ino

    def close(self) -> None:
        """Close the connections of this process; the content of the queue is kept."""
        self.storage.remove_session()
        if self._database is not None:
            self._database.engine.dispose()

    def entries(self) -> list[Entry]:
        """All trials, oldest first.

        Raises:
            DamagedQueue: If they cannot be read, or another process has replaced the journal.
        """
        if self._journal is not None and _number_of(self._journal) != self._file:
            raise DamagedQueue(
                f"queue {self._journal}: another process took it for damaged and set it aside; "
                "start the same command again"
            )
        trials = partial(self._study.get_trials, deepcopy=False)
        return cast("list[Entry]", _patiently(lambda: [_entry(trial) for trial in trials()]))

    def enqueue(self, ticket: Ticket, *, after: int = -1) -> None:
        """Request a run; of two simultaneous requests for a run, one becomes a duplicate."""
        self._add(ticket, TrialState.WAITING, after, 0, None)

    def take(self, code: str) -> Claim | None:
        """Take the first waiting run of this version of the code; None if there is none."""
        entries = self.entries()
        for entry in entries:
            if entry.state != "waiting" or entry.ticket.code != code:
                continue
            if is_duplicate(entry, entries):
                self._end(entry, TrialState.PRUNED)
                continue
            claim = self._claim(entry)
            if claim is not None:
                return claim
        return None

    def report(self, claim: Claim, step: int, total: int) -> None:
        """Record the progress of a run."""
        self._set(claim.entry, _STEP, [step, total])

    def finish(self, claim: Claim, packed: PackedRun, details: str = "") -> None:
        """Store the files of a run, unless its trial was ended because the worker seemed dead."""
        counts = None if packed.counts is None else base64.b85encode(packed.counts).decode()
        result = {
            "record": packed.record, "counts": counts, "details": details, "ended": time.time(),
            "seconds": time.monotonic() - claim.start,
        }  # fmt: skip
        self._set(claim.entry, _RESULT, result)
        self._end(claim.entry, TrialState.COMPLETE, [1.0])
        claim.lease.end()

    def give_back(self, claim: Claim) -> None:
        """Return a run to the queue; this does not count as the death of a worker."""
        self._return(claim.entry)
        claim.lease.end()
        self.recover()

    def give_back_of(self, worker: str) -> None:
        """Return the runs of a worker that was ended on purpose."""
        for entry in self.entries():
            if (entry.state, entry.worker) == ("running", worker):
                self._return(entry)
        self.recover()

    def recover(self) -> None:
        """Return the runs of dead workers, and add a new trial for each returned run."""
        self._return_of_the_dead()
        for entry in latest_of(self.entries()).values():
            if entry.state != "returned" or given_up(entry):
                continue
            ended = entry.result is not None  # the worker died between its last two operations
            state = TrialState.COMPLETE if ended else TrialState.WAITING
            self._add(entry.ticket, state, entry.after, deaths_of(entry), entry)

    def restore(self, ticket: Ticket, result: dict[str, Any]) -> None:
        """Add a run that was finished in another queue."""
        entry = Entry(number=-1, ticket=ticket, state="done", after=-1, deaths=0,
                      since=float(result["ended"]), result=result)  # fmt: skip
        self._add(ticket, TrialState.COMPLETE, -1, 0, entry)

    def _claim(self, entry: Entry) -> Claim | None:
        """Take a run; the lease is taken first, so that every running trial has one."""
        lock = None if self._locks is None else FileLock(self._locks / str(entry.number))
        if lock is not None and not lock.take(wait=False):
            return None
        trial_id = self._id(entry)
        if self._database is not None:
            beat = partial(self._database.record_heartbeat, trial_id)
            _patiently(beat)
        state = partial(self.storage.set_trial_state_values, trial_id, TrialState.RUNNING)
        try:
            taken = _patiently(state)
        except UpdateFinishedTrialError:
            taken = False
        if not taken:
            if lock is not None:
                lock.release()
            return None
        self._set(entry, _CLAIM, {"worker": worker_name(), "since": time.time()})
        return Claim(entry, lock or Pulse(beat, self._heartbeat))

    def _id(self, entry: Entry) -> int:
        """The id of a trial in the storage."""
        find = self.storage.get_trial_id_from_study_id_trial_number
        return cast("int", _patiently(partial(find, self._study_id, entry.number)))

    def _return_of_the_dead(self) -> None:
        if self._locks is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                _patiently(partial(optuna.storages.fail_stale_trials, self._study))
            return
        for entry in self.entries():
            lock = FileLock(self._locks / str(entry.number))
            if entry.state == "running" and lock.take(wait=False):
                self._end(entry, TrialState.FAIL)
                lock.end()

    def _return(self, entry: Entry) -> None:
        self._set(entry, _RETURNED, value=True)
        self._end(entry, TrialState.FAIL)

    def _add(
        self, ticket: Ticket, state: TrialState, after: int, deaths: int, before: Entry | None
    ) -> None:
        attributes: dict[str, Any] = {
            _TICKET: asdict(ticket),
            _ORDER: {"after": after, "deaths": deaths},
        }
        if before is not None and state == TrialState.COMPLETE:
            attributes[_RESULT] = before.result
            attributes[_CLAIM] = {"worker": before.worker, "since": before.since}
        value = 1.0 if state == TrialState.COMPLETE else None
        trial = create_trial(state=state, value=value, user_attrs=attributes)
        _patiently(partial(self._study.add_trial, trial))

    def _set(self, entry: Entry, name: str, value: object) -> None:
        change = partial(self.storage.set_trial_user_attr, self._id(entry), name, value)
        _unless_ended(change)

    def _end(self, entry: Entry, state: TrialState, values: list[float] | None = None) -> None:
        change = partial(self.storage.set_trial_state_values, self._id(entry), state, values)
        _unless_ended(change)


def check_there(storage: str) -> None:
    """Check that the file of a queue exists, without creating it as `open_queue` would.

    A database on a server is not checked.

    Raises:
        BenchError: If the journal, or the file of an SQLite database, does not exist.
    """
    kind, _, name = storage.rpartition("://")
    if kind and not kind.startswith("sqlite"):
        return
    path = Path(name.removeprefix("/") if kind else name)
    if not path.is_file():
        raise BenchError(
            f"--storage: no queue {path}; `python -m bench run` makes one, and `status` takes the "
            "same --artifacts and --storage"
        )


def open_queue(storage: str, *, heartbeat: int = HEARTBEAT) -> Queue:
    """Open the queue in a storage; create it if it does not exist.

    Args:
        storage: SQLAlchemy URL of a database, such as `postgresql+psycopg://user@host/name`, or
            the path of a journal file on this machine.
        heartbeat: Seconds between two heartbeats of a worker; used with a database.

    Raises:
        BenchError: If the storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if "://" not in storage:
        return _open_journal(Path(storage), heartbeat)
    database = _database(storage, heartbeat)
    return Queue(get_storage(database), None, heartbeat, database=database)


def _open_journal(path: Path, heartbeat: int) -> Queue:
    """Open a journal; one that cannot be read is renamed, and its finished runs are kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _journal(path, heartbeat)
    except DamagedQueue as error:
        problem = error.__cause__
    except OSError as error:
        raise BenchError(
            f"--storage {path}: expected a journal file that can be written, got {error.strerror}; "
            "choose another path"
        ) from error
    lock = FileLock(path.with_name(f"{path.name}.repair"))
    lock.take(wait=True)
    try:
        try:
            return _journal(path, heartbeat)  # another process may have repaired it
        except DamagedQueue:
            aside, runs = _set_aside(path)
    finally:
        lock.end()
    say(
        f"queue {path}: damaged ({type(problem).__name__}: {problem}); set aside as {aside.name}. "
        f"The records are what counts; {runs} finished runs were found in it. A search begins anew "
        "if its trials are gone"
    )
    return _journal(path, heartbeat)


def _journal(path: Path, heartbeat: int) -> Queue:
    """Open a journal and check that its entries can be read."""
    lock = cast("JournalFileOpenLock", JournalLock(path))  # has its two methods
    backend = JournalFileBackend(str(path), lock_obj=lock)
    locks = path.with_name(path.name + ".locks")
    storage = _patiently(partial(JournalStorage, backend))
    with path.open("rb") as file:
        first = file.readline()
    queue = Queue(storage, locks, heartbeat, journal=path)
    done = [entry for entry in queue.entries() if entry.state == "done"]
    names = _patiently(lambda: [run_name(entry.packed.record) for entry in done])
    if names != [entry.ticket.label for entry in done]:
        first = b"a run has the result of another"
    if first and not first.startswith(b'{"op_code":0,'):
        problem = ValueError(f"a record is missing: {first[:40]!r}")
        raise DamagedQueue(f"queue {path}: {problem}") from problem
    return queue


def _set_aside(path: Path) -> tuple[Path, int]:
    """Copy a damaged journal to another name, and replace it by a readable one.

    Returns:
        The other name, and the number of finished runs in the readable journal.
    """
    guard = JournalLock(path)
    guard.acquire()
    try:
        content = path.read_bytes()
        aside = free_name(path)
        write_atomically(aside, content)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
        found = salvage(content)
        queue = _rewritten(temporary, found) if found.complete else None
        if queue is None:
            temporary.unlink(missing_ok=True)
            queue = _journal(temporary, HEARTBEAT)
            for ticket, result in finished_runs(found.operations):
                queue.restore(ticket, result)
        runs = sum(entry.state == "done" for entry in queue.entries())
        queue.close()
        temporary.replace(path)
        temporary.with_name(f"{temporary.name}.lock").unlink(missing_ok=True)
    finally:
        guard.release()
    return aside, runs


def _rewritten(path: Path, found: Salvage) -> Queue | None:
    """A journal of the intact operations; None if it cannot be read either."""
    lines = (json.dumps(operation, separators=(",", ":")) for operation in found.operations)
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
    try:
        return _journal(path, HEARTBEAT)
    except DamagedQueue:
        return None


def _number_of(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _database(url: str, heartbeat: int) -> RDBStorage:
    """Connect, and create missing tables; retry, as another process may be creating them too."""
    for attempt in range(_ATTEMPTS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return RDBStorage(
                    url,
                    engine_kwargs={"pool_pre_ping": True},
                    heartbeat_interval=heartbeat,
                    grace_period=3 * heartbeat,
                )
        except Exception as error:  # the drivers have no common root
            problem = error
        time.sleep(_RETRY * (attempt + 1 < _ATTEMPTS))
    raise BenchError(
        f"--storage: expected a database that answers, got {type(problem).__name__}; is the "
        "server up, does the database exist, is the driver in the URL installed?"
    ) from problem


def worker_name(process: int | None = None) -> str:
    """Host and process id of a worker of this machine; by default of this process."""
    return f"{platform.node()}:{process or os.getpid()}"


def _patiently(call: Callable[[], Any]) -> Any:  # noqa: ANN401 (what the call returns)
    """Call a function; repeat the call while the database does not answer.

    Raises:
        BenchError: If the database does not answer for `PATIENCE` seconds.
        DamagedQueue: If the content cannot be read.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except StorageInternalError as error:
            if time.monotonic() > deadline:
                raise BenchError(
                    f"--storage: no answer for {PATIENCE:.0f} s; start the same command again "
                    "when the database is up"
                ) from error
            time.sleep(_RETRY)
        except _DAMAGE as error:
            raise DamagedQueue(
                f"queue: cannot be read ({type(error).__name__}: {error}); start the same command "
                "again, which sets a damaged journal aside"
            ) from error


def _unless_ended(change: Callable[[], object]) -> None:
    """Change a trial; do nothing if another process has ended it."""
    try:
        _patiently(change)
    except UpdateFinishedTrialError:
        return


def _entry(trial: FrozenTrial) -> Entry:
    attributes = trial.user_attrs
    order, claim = attributes[_ORDER], attributes.get(_CLAIM, {})
    step, total = attributes.get(_STEP, (0, 0))
    ticket = attributes[_TICKET]
    if not all(type(value) is (int if name == "seed" else str) for name, value in ticket.items()):
        raise TypeError(f"expected a ticket of texts, got {ticket}")
    return Entry(
        number=trial.number,
        ticket=Ticket(**ticket),
        state=_STATES[trial.state],
        after=int(order["after"]),
        deaths=int(order["deaths"]),
        worker=claim.get("worker", ""),
        since=float(claim.get("since", 0.0)),
        step=(step, total),
        given_back=attributes.get(_RETURNED, False),
        result=attributes.get(_RESULT),
    )
