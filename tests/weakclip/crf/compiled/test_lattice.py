"""Lattices by compiled loops are those by sorting: bit for bit if images are in one piece."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from bench.cost.subject import photo_like
from tests.weakclip.crf.conftest import check_same_vertices, torch_alone
from tests.weakclip.crf.crf_reference import parts_of
from weakclip.crf import engine
from weakclip.crf.dense import WEAKCLIP_TRAIN, WEAKCLIP_VOC, CRFConfig, build_lattices
from weakclip.crf.lattices import forget_position_lattices
from weakclip.crf.permutohedral_build import build_lattice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from weakclip.crf.permutohedral import Lattice

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    forget_position_lattices()
    yield
    forget_position_lattices()


def check_equal(ours: Lattice, theirs: Lattice) -> None:
    counts, *tensors = parts_of(ours)
    expected_counts, *expected = parts_of(theirs)
    assert counts == expected_counts
    for one, other in zip(tensors, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def by_sorting(features: Tensor) -> Lattice:
    with torch_alone():
        return build_lattice(features)


@pytest.mark.parametrize("wide", [1.0, 300.0])  # keys of 32 bits and longer ones
@pytest.mark.parametrize("axes", [1, 2, 3, 5])
@pytest.mark.parametrize("pixels", [1, 127, 128, 129, 1000])
def test_scattered_points(axes: int, pixels: int, wide: float) -> None:
    generator = torch.Generator().manual_seed(axes)
    features = torch.randn(3, axes, pixels, generator=generator) * wide
    features[1] = features[1].round()  # ties of ranks and of rounding
    check_equal(build_lattice(features), by_sorting(features))


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, 1e4])
def test_one_point_many_times(value: float) -> None:
    features = torch.full((2, 5, 300), value)
    check_equal(build_lattice(features), by_sorting(features))


@pytest.mark.parametrize("config", [WEAKCLIP_TRAIN, WEAKCLIP_VOC])
@pytest.mark.parametrize("shape", [(1, 200, 150), (3, 64, 64), (2, 1, 40), (1, 33, 1)])
def test_lattices_of_images(config: CRFConfig, shape: tuple[int, int, int]) -> None:
    images = photo_like(*shape, seed=0)
    ours = build_lattices(images, config)
    forget_position_lattices()
    with torch_alone():
        theirs = build_lattices(images, config)
    for one, other in zip(ours.terms, theirs.terms, strict=True):
        check_equal(one, other)


def test_the_hash_table_grows() -> None:
    features = torch.randn(2, 5, 20_000, generator=torch.Generator().manual_seed(0)) * 5
    ours = build_lattice(features)
    assert ours.vertices > 1 << 16  # of which there is room for 2^14 at first
    check_equal(ours, by_sorting(features))


def test_features_need_not_be_contiguous() -> None:
    features = torch.randn(1, 90, 5, generator=torch.Generator().manual_seed(0)).transpose(1, 2)
    check_equal(build_lattice(features), by_sorting(features))


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("shape", [(1, 30, 41), (3, 20, 17), (1, 1, 2)])
def test_pieces_of_an_image_number_the_same_vertices(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], threads: int
) -> None:
    images = photo_like(*shape, seed=0)
    whole = build_lattices(images, WEAKCLIP_VOC)
    forget_position_lattices()
    monkeypatch.setattr("weakclip.crf.compiled.spread._PIECE", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for ours, theirs in zip(build_lattices(images, WEAKCLIP_VOC).terms, whole.terms, strict=True):
        check_same_vertices(ours, theirs)


def test_double_precision_is_left_to_torch() -> None:
    features = torch.randn(1, 5, 30, dtype=torch.float64)
    assert build_lattice(features).slice.weight.dtype == torch.float64


WITHOUT = """
import sys
{before}
import torch
from weakclip.crf import engine
from weakclip.crf.dense import WEAKCLIP_VOC, dense_crf
images = torch.zeros(1, 3, 4, 5, dtype=torch.uint8)
dense_crf(images, torch.full((1, 2, 4, 5), 0.5), WEAKCLIP_VOC)
print(engine._found())
"""


@pytest.mark.parametrize(
    "before",
    ["sys.modules['numba'] = None", "import os; os.environ['NUMBA_DISABLE_JIT'] = '1'"],
    ids=["absent", "switched off"],
)
def test_torch_alone_is_enough(before: str) -> None:
    script = WITHOUT.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


def test_numba_that_may_not_write_its_cache_is_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise RuntimeError(f"cannot cache function of {name}: no locator available")

    monkeypatch.setattr(importlib, "import_module", refuse)
    assert engine._found.__wrapped__() is None
