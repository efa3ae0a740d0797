"""One `run` that waits and several `work`, forked; for the test with a database server.

    python -m tests.bench.fake_crew URL WORKERS

The first line tells the process ids of the workers, the second the exit codes: of `run`, then of
each worker.
"""

from __future__ import annotations

import json
import sys

from tests.bench.fake_cli import exit_code, pretend, start

PAUSE = 0.4
"""Seconds a step; a run has three."""


def main(url: str, workers: int) -> None:
    """Start, tell, wait, tell."""
    pretend(PAUSE)
    storage = ["--storage", url, "--heartbeat", "2"]
    asking = start(".", words=["run", "fake", *storage])
    crew = [start(".", words=["work", "--idle", "5", *storage]) for _ in range(workers)]
    sys.stdout.write(json.dumps(crew) + "\n")
    sys.stdout.flush()
    sys.stdout.write(json.dumps([exit_code(child) for child in (asking, *crew)]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
