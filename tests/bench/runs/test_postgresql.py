"""Several workers on a real PostgreSQL server, one killed in mid-run, the server restarted."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.runs.queue import Queue, open_queue
from bench.runs.status import status_of
from bench.runs.store import Store
from tests.bench.fake import STUDY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [
    Path(found).parent for found in [shutil.which("pg_ctl")] if found
]
RUNUSER = shutil.which("runuser") or "/usr/sbin/runuser"  # a PATH may lack what root's has
AS_POSTGRES = [RUNUSER, "-u", "postgres", "--"] if os.geteuid() == 0 else []


class Server:
    """A PostgreSQL server on loopback in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "-N", "--auth=trust", "--username=bench", "-D", f"{folder}/data")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://bench@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = f"{self.folder}/log"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "stop")

    def _run(self, program: str, *words: str) -> None:
        command = [*AS_POSTGRES, str(PROGRAMS[-1] / program), *words]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.folder
        )


@pytest.fixture
def server() -> Iterator[Server]:
    if not PROGRAMS:
        pytest.skip("no PostgreSQL server here; on Debian: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="weakclip-pg-"))
    if AS_POSTGRES:
        shutil.chown(folder, "postgres")
    server = Server(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)
    with warnings.catch_warnings():
        # SQLAlchemy drops the connections that the server's end broke without closing them.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.05)


def running(queue: Queue) -> set[int]:
    """Process ids of workers that have a run."""
    found = status_of(queue.entries(), time.time()).running
    return {int(entry.worker.rpartition(":")[2]) for entry in found if entry.worker}


def test_a_killed_worker_and_a_restarted_server_lose_nothing(
    server: Server, tmp_path: Path
) -> None:
    crew = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.fake_crew", server.url, "4"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert crew.stdout is not None
    pids = json.loads(crew.stdout.readline())
    with closing(open_queue(server.url)) as queue:
        check(queue, pids, server, crew, tmp_path)


def check(
    queue: Queue, pids: list[int], server: Server, crew: subprocess.Popen[str], folder: Path
) -> None:
    wait_for(lambda: pids[0] in running(queue))
    os.kill(pids[0], signal.SIGKILL)
    wait_for(lambda: any(entry.state == "done" for entry in queue.entries()))
    server.stop()
    time.sleep(1.0)
    server.start()
    codes = json.loads(crew.communicate()[0])
    assert codes == [0, -signal.SIGKILL, 0, 0, 0]

    entries = queue.entries()
    done = Counter(entry.ticket.label for entry in entries if entry.state == "done")
    wanted = [f"fake/{row.name}/seed{seed}" for row in STUDY.rows for seed in STUDY.seeds]
    assert done == Counter(wanted)
    assert max(entry.deaths for entry in entries) >= 1
    records = Store(folder / "results").read_all("fake", [row.name for row in STUDY.rows])
    assert sorted(record.run_id for record in records) == sorted(wanted)
    assert {record.status for record in records} == {"ok"}
    assert len((folder / "log").read_text().splitlines()) >= len(wanted)
