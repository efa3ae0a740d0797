"""Independent tasks on several threads, for compiled loops that run without Python.

Lattices and mean field both use it. torch's own threads cannot run a compiled loop; these threads
sleep between calls.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Result = TypeVar("Result")

_PIECE = 1 << 15  # fewest pixels for which a thread is worthwhile


def spread(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run tasks on torch's number of threads, including the calling one.

    Each thread takes the next remaining task.

    Returns:
        Results of the tasks, in order.

    Raises:
        Exception: That of a task, after all threads have stopped.
    """
    left, found = iter(enumerate(tasks)), dict[int, Result]()

    def work() -> None:
        for number, task in left:
            found[number] = task()

    threads = torch.get_num_threads()
    helpers = min(threads, len(tasks)) - 1
    helping = [_pool(threads - 1).submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        running = wait([helper for helper in helping if not helper.cancel()]).done
    for helper in running:
        helper.result()
    return [found[number] for number in range(len(tasks))]


def pieces_of(pixels: int) -> list[tuple[int, int]]:
    """Start and end of the pieces into which an image is divided for several threads."""
    return ranges(pixels, max(1, min(torch.get_num_threads(), pixels // _PIECE)))


def ranges(count: int, parts: int) -> list[tuple[int, int]]:
    """Start and end of nearly equal parts of a range."""
    return list(pairwise(count * part // parts for part in range(parts + 1)))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="weakclip-loops")


_forked = False


def one_thread_if_forked() -> None:
    """In a forked process, limit torch to one thread from now on.

    torch's threads are OpenMP's; a forked child would wait forever for the threads of its parent.
    Code with one process per image, such as a pool around pydensecrf, needs no more.
    """
    if _forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def _after_fork() -> None:
    """Forget the threads of the parent, which do not exist in a child."""
    global _forked
    _forked = True
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
