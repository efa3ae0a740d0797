"""Dense CRF, ours and pydensecrf2's, under pytest-benchmark: `pytest tests/perf --benchmark-only`.

The table with ratios timed side by side is made by `python -m bench.speed.crf`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from bench.cost.subject import photo_like
from bench.speed.crf import pydensecrf, soft_probs
from weakclip.crf.dense import WEAKCLIP_TRAIN, WEAKCLIP_VOC, CRFConfig, dense_crf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

LOADS = [
    pytest.param(WEAKCLIP_VOC, (1, 4, 375, 500), id="post-4-labels"),
    pytest.param(WEAKCLIP_VOC, (1, 21, 375, 500), id="post-21-labels"),
    pytest.param(WEAKCLIP_TRAIN, (8, 21, 64, 64), id="loss"),
]


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("who", ["ours", "pydensecrf2"])
@pytest.mark.parametrize(("config", "shape"), LOADS)
def test_dense_crf(
    benchmark: BenchmarkFixture, who: str, config: CRFConfig, shape: tuple[int, int, int, int]
) -> None:
    images = photo_like(shape[0], *shape[2:], seed=0)
    probs = soft_probs(*shape, seed=0)
    if who == "ours":
        benchmark.pedantic(dense_crf, (images, probs, config), rounds=5, warmup_rounds=1)
        return
    module = pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
    benchmark.pedantic(pydensecrf, (module, images, probs, config), rounds=5, warmup_rounds=1)
