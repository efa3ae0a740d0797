"""Counts of two runs that may round otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.studies.workbench import Outcome


def check_alike(found: Outcome, expected: Outcome) -> None:
    """Hardly a pixel is counted elsewhere."""
    assert found.counts.keys() == expected.counts.keys()
    for name, counts in expected.counts.items():
        moved = np.abs(found.counts[name].astype(int) - counts.astype(int)).sum()
        assert moved < 0.01 * counts.sum()
