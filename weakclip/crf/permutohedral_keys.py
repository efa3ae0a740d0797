"""Sorting and lookup of integer keys, which take most of the time of building a lattice.

They are separate because they do not depend on the meaning of the keys.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MULTIPLIER = -7046029254386353131  # 2^64 over the golden ratio, as int64: Fibonacci hashing
_SLOTS_PER_KEY = 4


def sort_rows(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Sort along the last axis.

    On a CPU, key and position are packed into one number and sorted by NumPy through an array view
    of the tensor, whose vectorised sort is several times as fast as torch's sort with indices.

    Args:
        keys: (..., N), integers that are not negative; not changed.

    Returns:
        The sorted keys, (..., N), int64, and their former positions, int32; the sort is stable.
    """
    bits = max(1, (keys.shape[-1] - 1).bit_length())
    if keys.device.type != "cpu" or int(keys.max()) >= 1 << (63 - bits):
        ordered, order = keys.long().sort(dim=-1, stable=True)
        return ordered, order.int()
    packed = keys.to(torch.int64, copy=True).bitwise_left_shift_(bits)
    packed.bitwise_or_(torch.arange(keys.shape[-1]))
    packed.numpy().sort(axis=-1)  # in place: the array is a view
    order = (packed & ((1 << bits) - 1)).int()
    return packed.bitwise_right_shift_(bits), order


class KeyTable:
    """The positions of distinct keys: an exact hash table, on any device.

    If several keys share a slot, one of them occupies it. The others are in a sorted list, which is
    searched only for queries of shared slots.
    """

    def __init__(self, keys: Tensor) -> None:
        """Enter the keys, (M,), int64, distinct; M is positive."""
        count = len(keys)
        self._bits = (_SLOTS_PER_KEY * count - 1).bit_length()
        self._keys = torch.cat([keys, keys.new_tensor([torch.iinfo(keys.dtype).min])])
        numbers = torch.arange(count, dtype=torch.int32, device=keys.device)
        slots = self._slots(keys)
        self._holder = torch.full((1 << self._bits,), count, dtype=torch.int32, device=keys.device)
        self._holder.scatter_(0, slots, numbers)
        lost = numbers[self._holder.index_select(0, slots) != numbers]
        self._shared = torch.zeros(1 << self._bits, dtype=torch.bool, device=keys.device)
        self._shared[slots.index_select(0, lost)] = True
        self._lost_keys, order = keys.index_select(0, lost).sort()
        self._lost = lost.index_select(0, order)

    def find(self, wanted: Tensor) -> Tensor:
        """Positions of wanted keys among the keys.

        Args:
            wanted: (Q,), int64, larger than the smallest int64.

        Returns:
            (Q,), int32; -1 where absent.
        """
        slots = self._slots(wanted)
        holder = self._holder.index_select(0, slots)
        hit = self._keys.index_select(0, holder) == wanted
        found = torch.where(hit, holder, -1)
        if len(self._lost):
            again = (self._shared.index_select(0, slots) & ~hit).nonzero()[:, 0]
            found.index_copy_(0, again, self._find_lost(wanted.index_select(0, again)))
        return found

    def _find_lost(self, wanted: Tensor) -> Tensor:
        place = torch.searchsorted(self._lost_keys, wanted).clamp_(max=len(self._lost) - 1)
        hit = self._lost_keys.index_select(0, place) == wanted
        return torch.where(hit, self._lost.index_select(0, place), -1)

    def _slots(self, keys: Tensor) -> Tensor:
        return ((keys * _MULTIPLIER) >> (64 - self._bits)) & ((1 << self._bits) - 1)
