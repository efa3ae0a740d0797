from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from weakclip.training.memory import BatchSize, alike, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_batches_are_halved_for_good(error: Exception) -> None:
    asked: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        asked.append(len(items))
        if len(items) > 2:
            raise error
        return [10 * item for item in items]

    batch = BatchSize(8)
    assert list(batch.run(work, range(7))) == [(item, 10 * item) for item in range(7)]
    assert asked == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert batch.size == 1


def test_an_item_that_never_fits_has_no_result() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 1 in items:
            raise MemoryError
        return list(items)

    assert list(BatchSize(2).run(work, [0, 1, 2])) == [(0, 0), (1, None), (2, 2)]


def test_other_errors_are_not_hidden() -> None:
    def work(items: Sequence[int]) -> list[int]:
        raise RuntimeError("shapes differ")

    assert not is_out_of_memory(RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(BatchSize(2).run(work, [0]))
    with pytest.raises(ValueError, match="batch size"):
        BatchSize(0)


def test_groups_are_alike_complete_and_do_not_wait_for_ever() -> None:
    items = [(index, index % 5) for index in range(23)]
    groups = list(alike(items, lambda item: item[1], 3, waiting=2))
    assert sorted(item for group in groups for item in group) == items
    assert all(len({kind for _, kind in group}) == 1 for group in groups)
    assert max(map(len, groups)) <= 3
    assert groups[0][0][0] == 0
    assert max(index for index, _ in groups[0]) < 6  # before everything has been read
