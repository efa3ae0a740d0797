"""`python -m bench` on the fake workbench in processes that are killed; forked, to start fast.

Run in an empty folder it leaves `undisturbed`, one command, and two folders each without and with
a queue: `shared...`, the same command twice at the same time; `faults...`, the command again and
again until it ends by itself, where the n-th attempt kills itself (SIGKILL) before it touches its
2n-th file: reading, writing, renaming, locking. Each holds the results and `log`, a line per run
that was carried out to its end; `faults.../attempts` has their number.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from bench import cli, commands
from bench.report.figures import set as figures
from bench.runs import (
    provenance,
    queue,  # noqa: F401 (imported once, not by every process with a queue)
)
from bench.tasks import task
from tests.bench import fake

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.report.figures.set import Drawing

WORDS = ["run", "fake", "--workers", "1"]
QUEUE = ["--storage", "artifacts/queue.journal"]
TOUCHES = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "fcntl.flock")
OURS = ("results", "artifacts")


def draw(drawing: Drawing, _: str) -> bytes:
    """Bytes instead of a picture."""
    return drawing.mark.encode()


def pretend(pause: float) -> None:
    """Put the fakes in place; a run takes three pauses, in seconds, and a line in `log`.

    Nothing waits for the disk: what a killed process has written is there without.
    """
    patch.object(os, "fsync", lambda _: None).start()
    prepare = partial(fake.prepare, log=Path("log"), pause=pause)
    patch.object(task, "prepare", prepare).start()
    patch.object(commands, "load_study", fake.load).start()
    patch.object(commands, "code_id", lambda: "code").start()
    patch.object(figures, "draw", draw).start()
    patch.object(provenance, "checkout_state", lambda: ("0123456789", False)).start()


def start(
    folder: str, before: Callable[[], None] = lambda: None, words: Sequence[str] = WORDS
) -> int:
    """Start a command in a folder and return its process id; its stdout goes nowhere."""
    child = os.fork()
    if child:
        return child
    Path(folder).mkdir(exist_ok=True)
    os.chdir(folder)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    before()
    os._exit(cli.main(words))


def exit_code(child: int) -> int:
    """Wait for a process; a killed one has the negative signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(touch: int) -> None:
    """Kill this process before it touches a file below its folder for the n-th time."""
    left = touch

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        ours = event == "fcntl.flock" or str(arguments[0] if arguments else "").startswith(OURS)
        if event in TOUCHES and ours:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def main() -> None:
    """Make the three folders."""
    pretend(pause=0.01)
    assert exit_code(start("undisturbed")) == 0
    for name, words in (("", WORDS), ("-queue", [*WORDS, *QUEUE])):
        both = [start(f"shared{name}", words=words) for _ in range(2)]
        assert [exit_code(child) for child in both] == [0, 0]
        attempts, code = 0, -signal.SIGKILL
        while code == -signal.SIGKILL:
            attempts += 1
            code = exit_code(start(f"faults{name}", partial(die_at, 2 * attempts), words))
        assert code == 0
        Path(f"faults{name}/attempts").write_text(f"{attempts}")


if __name__ == "__main__":
    main()
