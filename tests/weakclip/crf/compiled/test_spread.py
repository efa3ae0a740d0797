from __future__ import annotations

import subprocess
import sys
import threading
import time
from functools import partial

import pytest
import torch

from weakclip.crf.compiled.spread import pieces_of, ranges, spread


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)


def test_results_come_in_the_order_of_the_tasks() -> None:
    def late(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    assert spread([partial(late, number) for number in range(20)]) == list(range(20))
    assert spread([]) == []


def test_tasks_meet_on_several_threads() -> None:
    together = threading.Barrier(3, timeout=60)
    names = spread([lambda: (together.wait(), threading.current_thread().name)[1]] * 3)
    assert len(set(names)) == 3


@pytest.mark.parametrize("bad", [0, 5])
def test_an_error_of_a_task_is_raised_when_all_threads_have_stopped(bad: int) -> None:
    done = []

    def task(number: int) -> None:
        if number == bad:
            raise ValueError("bad")
        time.sleep(0.01)
        done.append(number)

    with pytest.raises(ValueError, match="bad"):
        spread([partial(task, number) for number in range(6)])
    finished = list(done)
    time.sleep(0.05)
    assert done == finished


def test_pieces_cover_the_pixels_and_are_worth_a_thread() -> None:
    assert pieces_of(10) == [(0, 10)]
    assert pieces_of(1 << 16) == [(0, 1 << 15), (1 << 15, 1 << 16)]
    assert len(pieces_of(1 << 20)) == 3
    assert ranges(7, 3) == [(0, 2), (2, 4), (4, 7)]


FORKED = """
import os, torch
torch.set_num_threads(2)
from weakclip.crf.compiled.spread import spread
assert spread([lambda: 1] * 4) == [1] * 4
child = os.fork()
if not child:
    os._exit(spread([lambda: 7] * 4) != [7] * 4)
print(os.waitpid(child, 0)[1])
"""


def test_a_forked_process_has_threads_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
