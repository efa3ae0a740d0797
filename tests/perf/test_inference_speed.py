"""Sliding windows in one batch and one by one, and scoring: `pytest tests/perf --benchmark-only`.

The test that both ways give the same masks is not timed and always runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from bench.cost.subject import make_subject
from weakclip.config import MICRO
from weakclip.ops.confusion import class_counts
from weakclip.stages.inference import multi_scale_probabilities, slide_logits, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture
    from torch import Tensor

    from weakclip.network.model import WeakCLIP

CROP, STRIDE, SCALES = 128, 85, (0.75, 1.0, 1.25)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model() -> WeakCLIP:
    return make_subject(MICRO, "micro").model.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(1, 3, 256, 320, generator=torch.Generator().manual_seed(0))


def batched(model: WeakCLIP, images: Tensor) -> Tensor:
    """Masks by `weakclip.stages.inference`: eight windows a pass, the text once."""
    return multi_scale_probabilities(model, images, crop=CROP, stride=STRIDE, scales=SCALES).argmax(
        1
    )


def one_by_one(model: WeakCLIP, images: Tensor) -> Tensor:
    """Masks as released: a pass per window, the text in each."""
    height, width = images.shape[2:]
    views = []
    for scale in SCALES:
        size = (round(height * scale), round(width * scale))
        scaled = torch.nn.functional.interpolate(images, size, mode="bilinear")
        for mirrored in (False, True):
            logits = _windows_one_by_one(model, scaled.flip(-1) if mirrored else scaled)
            grown = torch.nn.functional.interpolate(logits, (height, width), mode="bilinear")
            probabilities = grown.softmax(1)
            views.append(probabilities.flip(-1) if mirrored else probabilities)
    return torch.stack(views).mean(0).argmax(1)


@torch.no_grad()
def _windows_one_by_one(model: WeakCLIP, images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    total, visits = torch.zeros(1, 21, height, width), torch.zeros(1, 1, height, width)
    for top in windows(height, CROP, STRIDE):
        for left in windows(width, CROP, STRIDE):
            place = (..., slice(top, top + CROP), slice(left, left + CROP))
            total[place] += model.segment(images[place])
            visits[place] += 1
    return total / visits


WAYS: dict[str, Callable[[WeakCLIP, Tensor], Tensor]] = {
    "batched": batched,
    "one-by-one": one_by_one,
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("way", WAYS)
def test_multi_scale_masks(
    benchmark: BenchmarkFixture, model: WeakCLIP, images: Tensor, way: str
) -> None:
    benchmark.pedantic(WAYS[way], (model, images), rounds=3, warmup_rounds=1)


@pytest.mark.usefixtures("one_thread")
def test_scoring(benchmark: BenchmarkFixture) -> None:
    """32 masks of 375 x 500 with 21 classes a call."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 21, (2, 32, 375, 500), generator=generator, dtype=torch.uint8)
    benchmark.pedantic(class_counts, (masks[0], masks[1], 21), rounds=5, warmup_rounds=1)


def test_both_ways_make_the_same_masks(model: WeakCLIP, images: Tensor) -> None:
    mine, theirs = batched(model, images), one_by_one(model, images)
    assert int(mine.max()) > int(mine.min())  # masks with something to compare
    assert float((mine == theirs).float().mean()) > 0.9999


def test_a_batch_of_windows_gives_the_logits_of_its_windows(
    model: WeakCLIP, images: Tensor
) -> None:
    torch.testing.assert_close(
        slide_logits(model, images, crop=CROP, stride=STRIDE),
        _windows_one_by_one(model, images),
        rtol=1e-3,
        atol=1e-4,
    )
