from __future__ import annotations

import numpy as np
import pytest
import torch

from weakclip.crf.permutohedral_keys import KeyTable, sort_rows


@pytest.mark.parametrize("low", [0, (1 << 62) - 9])  # short keys are packed, long ones are not
def test_rows_are_sorted_and_equal_keys_keep_their_order(low: int) -> None:
    generator = np.random.default_rng(0)
    keys = generator.integers(0, 9, size=(3, 2, 50)) + low
    before = torch.tensor(keys)
    ordered, order = sort_rows(before)
    expected = np.argsort(keys, axis=-1, kind="stable")
    np.testing.assert_array_equal(order.numpy(), expected)
    np.testing.assert_array_equal(ordered.numpy(), np.take_along_axis(keys, expected, -1))
    np.testing.assert_array_equal(before.numpy(), keys)


def test_rows_of_one_key_and_short_integers_are_sorted() -> None:
    ordered, order = sort_rows(torch.tensor([[7], [3]], dtype=torch.int32))
    assert (ordered.tolist(), order.tolist()) == ([[7], [3]], [[0], [0]])


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_keys_are_found_and_others_are_not(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    keys = torch.randperm(4 * count, generator=generator)[:count] * 3 - 5
    wanted = torch.arange(-20, 12 * count)
    found = KeyTable(keys).find(wanted)
    place = {int(key): number for number, key in enumerate(keys)}
    assert found.tolist() == [place.get(int(key), -1) for key in wanted]


def test_keys_that_all_share_a_slot_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weakclip.crf.permutohedral_keys._MULTIPLIER", 0)
    table = KeyTable(torch.tensor([9, 0, 10, -4]))
    assert table.find(torch.tensor([10, 9, 0, -4, 3, 11])).tolist() == [2, 0, 1, 3, -1, -1]
