"""A training step, the library's and with the release's work: `pytest tests/perf --benchmark-only`.

The ratio timed in turn, at paper size, is made by `python -m bench.cost.release_cost`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from bench.cost.release_cost import ReleaseStep
from bench.cost.subject import LibraryStep, make_subject, random_batch
from weakclip.config import MICRO, PAPER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("who", ["library", "release"])
@pytest.mark.parametrize("size", ["micro", pytest.param("paper", marks=pytest.mark.slow)])
def test_training_step(benchmark: BenchmarkFixture, size: str, who: str) -> None:
    subject = make_subject(MICRO if size == "micro" else PAPER, size)
    step = LibraryStep(subject) if who == "library" else ReleaseStep(subject)
    batch = random_batch(size, 2)
    benchmark.pedantic(step, (batch,), rounds=3, warmup_rounds=1)
