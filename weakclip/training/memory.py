"""Batches that are reduced when memory runs out, and batches of items with a common key."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that the memory of the GPU or of the machine ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(message in text for message in _MESSAGES)


class BatchSize:
    """Number of images processed together; halved permanently when they do not fit in memory."""

    def __init__(self, size: int) -> None:
        """Start with `size` images.

        Raises:
            ValueError: If it is not positive.
        """
        if size < 1:
            raise ValueError(f"batch size: expected 1 image or more, got {size}")
        self.size = size

    def run(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        items: Sequence[Item],
    ) -> Iterator[tuple[Item, Result | None]]:
        """Results of `work`, in order, with smaller batches if memory runs out.

        Args:
            work: Returns one result per item.
            items: Any number of items.

        Yields:
            Each item with its result; None if memory does not suffice for that item alone.
        """
        first = 0
        while first < len(items):
            part = items[first : first + self.size]
            try:
                results: Sequence[Result | None] = work(part)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                results = [None]
                if len(part) > 1:
                    self.size = len(part) // 2
            if torch.cuda.is_available() and results == [None]:
                torch.cuda.empty_cache()  # outside the handler, which keeps the tensors alive
            if len(part) == len(results):
                yield from zip(part, results, strict=True)
                first += len(part)


def alike(
    items: Iterable[Item], key: Callable[[Item], Hashable], size: int, *, waiting: int = 8
) -> Iterator[list[Item]]:
    """Groups of items with the same key, e.g. images of one size, from a stream of items.

    Args:
        items: Consumed one by one.
        key: Returns the key of an item.
        size: Largest size of a group.
        waiting: Limit of pending items, in groups of `size`; when it is reached, the largest group
            is yielded although it is incomplete.

    Example:
        >>> [*alike("abababb", str, 2)]
        [['a', 'a'], ['b', 'b'], ['b', 'b'], ['a']]
    """
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        group = groups.setdefault(key(item), [])
        group.append(item)
        if len(group) == size:
            yield groups.pop(key(item))
        elif sum(map(len, groups.values())) >= waiting * size:
            yield groups.pop(max(groups, key=lambda each: len(groups[each])))
    yield from groups.values()
