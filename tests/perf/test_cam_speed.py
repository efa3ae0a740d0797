"""Grad-CAM of a batch, ours and the usual ways: `pytest tests/perf --benchmark-only`.

The table with ratios timed side by side is made by `python -m bench.speed.cam`. The test of
agreement below is not timed and always runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from bench.speed.cam import TOLERANCE, batch, largest_difference, main
from bench.speed.cam_subjects import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("way", ["ours", "loop", "shared prefix", "grad-cam"])
@pytest.mark.parametrize("subject", ["micro-clip", "resnet50-layer4"])
def test_grad_cam(benchmark: BenchmarkFixture, subject: str, way: str) -> None:
    explained = SUBJECTS[subject]()
    if way not in explained.ways:
        pytest.skip("grad-cam is not installed")
    images, tags = batch(4, explained.size, seed=0)
    benchmark.pedantic(explained.ways[way], (images, tags), rounds=3, warmup_rounds=1)


@pytest.mark.usefixtures("one_thread")
def test_every_way_makes_the_same_maps() -> None:
    explained = SUBJECTS["micro-clip"]()
    images, tags = batch(4, explained.size, seed=1)
    ours = explained.ways["ours"](images, tags)
    assert float(ours.amax(dim=(2, 3))[tags].min()) > 0.5  # maps with something to compare
    for name, way in explained.ways.items():
        maps = way(images, tags)
        assert maps.shape == ours.shape
        assert largest_difference(ours, maps) < TOLERANCE, name


def test_a_difference_is_seen() -> None:
    maps = torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert largest_difference(maps, 7 * maps - 1) < TOLERANCE
    changed = maps.clone()
    changed[0, 1, 2, 2] += 0.01
    assert largest_difference(maps, changed) > TOLERANCE


def test_refuses_a_single_round(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--rounds", "1"])
