"""Batches that get smaller when memory runs out, instead of a run that dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the graphics card or of the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(message in text for message in _MESSAGES)


class BatchSize:
    """How many images are worked on at a time; halved for good when they do not fit."""

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
            work: One result per item.
            items: Any number of them.

        Yields:
            Each item with its result; None if there is not even memory for that item alone.
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
                torch.cuda.empty_cache()  # outside the handler, which holds the tensors alive
            if len(part) == len(results):
                yield from zip(part, results, strict=True)
                first += len(part)


def alike(
    items: Iterable[Item], key: Callable[[Item], Hashable], size: int, *, waiting: int = 8
) -> Iterator[list[Item]]:
    """Groups of items with one key, such as images of one size, without waiting for all of them.

    Args:
        items: Taken one by one.
        key: What the items of a group have in common.
        size: Largest group.
        waiting: The largest group goes as it is when this many groups' worth of items wait.

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
