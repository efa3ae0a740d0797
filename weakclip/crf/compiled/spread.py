"""Independent tasks on several threads, for loops that run without Python.

Kept apart because lattices and mean field share it. Torch's own threads cannot be asked to run a
compiled loop; these sleep between calls.
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

_PIECE = 1 << 15  # pixels that are worth a thread


def spread(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run tasks on as many threads as torch has, this one included.

    Each thread takes the next task that is left.

    Returns:
        What the tasks return, in order.

    Raises:
        Exception: What a task raised, when no thread is at work any more.
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
    """First and end of the pieces in which the pixels of an image are worth several threads."""
    return ranges(pixels, max(1, min(torch.get_num_threads(), pixels // _PIECE)))


def ranges(count: int, parts: int) -> list[tuple[int, int]]:
    """First and end of nearly equal parts of a range."""
    return list(pairwise(count * part // parts for part in range(parts + 1)))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="weakclip-loops")


_forked = False


def one_thread_if_forked() -> None:
    """In a process that was forked, let torch work on one thread from here on.

    Its threads are OpenMP's, and a forked child waits for ever for those that its parent had. Code
    that works on an image a process, as a pool around pydensecrf does, has no use for more.
    """
    if _forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def _after_fork() -> None:
    """Forget the threads of the parent; a child has none of them."""
    global _forked
    _forked = True
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
