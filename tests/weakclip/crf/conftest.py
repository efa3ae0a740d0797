from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

import pytest
import torch

from weakclip.crf import engine as crf_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weakclip.crf.permutohedral import Lattice


@contextmanager
def torch_alone() -> Iterator[None]:
    """Where everything is computed by torch's operators, as if numba were absent."""
    with mock.patch.object(crf_engine, "_found", return_value=None):
        yield


@pytest.fixture(params=["loops", "torch"])
def engine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test with compiled loops and with torch's operators."""
    if request.param == "torch":
        with torch_alone():
            yield
    else:
        pytest.importorskip("numba")
        yield


def check_same_vertices(ours: Lattice, theirs: Lattice) -> None:
    """Vertices and their places are the same, weights but for the rounding of the normalisation."""
    assert ours.vertex_counts == theirs.vertex_counts
    assert torch.equal(ours.slice.index, theirs.slice.index)
    assert torch.equal(ours.beside, theirs.beside)
    torch.testing.assert_close(ours.slice.weight, theirs.slice.weight, rtol=1e-6, atol=0)
