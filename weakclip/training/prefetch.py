"""Training batches on the network's device, prepared some steps in advance by a thread."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

Item = TypeVar("Item")


@contextmanager
def prefetched(
    batches: Callable[[int], Item], steps: range, depth: int, device: torch.device
) -> Iterator[Callable[[int], Item]]:
    """A function that returns the same batches on `device`; call it with `steps` in order.

    Args:
        batches: Makes the batch of a step. With `depth` > 0 it runs in one thread, for one step at
            a time; it must neither use torch's global generators nor wait for other processes.
        steps: All steps of the training.
        depth: Batches prepared in advance; 0 makes each batch when it is requested, without a
            thread.
        device: Device of the network.

    An error of `batches` is raised when its step is requested. The thread ends with the context.
    """

    def make(step: int) -> Item:
        return moved(batches(step), device)

    if depth == 0:
        yield make
        return
    # The current GPU is set per thread; in a new thread it is the first one.
    with ThreadPoolExecutor(1, "weakclip-prefetch", _use, (device,)) as pool:
        try:
            yield _Ahead(pool, make, steps, depth)
        finally:
            pool.shutdown(cancel_futures=True)


def moved(value: Item, device: torch.device) -> Item:
    """Copy dataclasses, tuples and lists, with their tensors on `device`.

    Copies from CPU to GPU use pinned memory and are asynchronous. Kernels and copies of all threads
    are in the GPU's default stream, so later kernels see the complete copy.
    """
    return cast("Item", _each(value, lambda tensor: _moved(tensor, device)))


class _Ahead(Generic[Item]):
    """Batches in the order of the steps, some of them still being made."""

    def __init__(
        self, pool: ThreadPoolExecutor, make: Callable[[int], Item], steps: range, depth: int
    ) -> None:
        self._pool, self._make, self._depth = pool, make, depth
        self._steps = iter(steps)
        self._waiting: deque[Future[Item]] = deque()

    def __call__(self, step: int) -> Item:
        """The batch of a step."""
        while len(self._waiting) <= self._depth:
            following = next(self._steps, None)
            if following is None:
                break
            self._waiting.append(self._pool.submit(self._make, following))
        return self._waiting.popleft().result()


def _use(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _each(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:  # noqa: ANN401
    """The value with `change` applied to every tensor in it."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_each(item, change) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: _each(getattr(value, part.name), change) for part in fields(value)}
        return replace(value, **parts)
    return value
