"""Batches made ahead: the same ones, in order, by a thread that ends."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from tests.weakclip.training.test_loop import CLIP, NAMES, RECIPE, batch
from weakclip.config import MICRO
from weakclip.crf.dense import WEAKCLIP_TRAIN, build_lattices
from weakclip.network.build import build_model
from weakclip.training.execution import Execution
from weakclip.training.loop import fit
from weakclip.training.losses import build_supervision
from weakclip.training.prefetch import moved, prefetched

if TYPE_CHECKING:
    from weakclip.training.recipe import Batch

CPU = torch.device("cpu")
BATCH = batch(0)


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if "prefetch" in each.name]


@pytest.mark.parametrize("depth", [0, 1, 3, 99])
def test_every_step_gets_its_batch(depth: int) -> None:
    made: list[tuple[int, str]] = []

    def source(step: int) -> Batch:
        made.append((step, threading.current_thread().name))
        return replace(BATCH, seeds=torch.tensor(step))

    with prefetched(source, range(2, 8), depth, CPU) as batches:
        assert [int(batches(step).seeds) for step in range(2, 8)] == list(range(2, 8))
    assert [step for step, _ in made] == list(range(2, 8))
    assert len({name for _, name in made}) == 1
    assert ("prefetch" in made[0][1]) == (depth > 0)
    assert not threads()


def test_no_more_is_made_ahead_than_asked_for() -> None:
    made: list[int] = []
    third = threading.Event()

    def source(step: int) -> Batch:
        made.append(step)
        if step == 2:
            third.set()
        return BATCH

    with prefetched(source, range(100), 2, CPU) as batches:
        batches(0)
        assert third.wait(timeout=30)
        assert made == [0, 1, 2]


def failing(step: int) -> Batch:
    if step == 2:
        raise OSError("image 7 is gone")
    return BATCH


@pytest.mark.parametrize("depth", [0, 2])
def test_an_error_is_raised_at_its_step_and_no_thread_stays(depth: int) -> None:
    model = build_model(MICRO, CLIP, NAMES, seed=0)
    steps: list[int] = []
    with pytest.raises(OSError, match=r"^image 7 is gone$"):
        fit(
            model,
            build_supervision(MICRO.supervision, MICRO.tau),
            failing,
            RECIPE,
            report=lambda done, _: steps.append(done),
            execution=Execution(prefetch=depth),
        )
    assert steps == [1, 2]
    assert not threads()


def test_a_training_that_is_stopped_leaves_no_thread() -> None:
    model = build_model(MICRO, CLIP, NAMES, seed=0)
    made: list[int] = []

    def source(step: int) -> Batch:
        made.append(step)
        return BATCH

    def stopped(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            build_supervision(MICRO.supervision, MICRO.tau),
            source,
            replace(RECIPE, iterations=1000),
            report=stopped,
            execution=Execution(prefetch=2),
        )
    assert len(made) <= 3
    assert not threads()


def test_everything_in_a_batch_is_moved() -> None:
    lattices = build_lattices(BATCH.grid_images, WEAKCLIP_TRAIN)
    whole = replace(BATCH, lattices=[lattices[0], lattices[1]])
    there = moved(whole, torch.device("meta"))
    assert isinstance(there.lattices, list)
    found = [
        *there.features.taps,
        there.features.dense_embedding,
        there.seeds,
        there.grid_images,
        there.lattices[1].terms[1].slice.index,
    ]
    assert {each.device.type for each in found} == {"meta"}
    assert there.lattices[0].images == 1
    assert moved(whole, CPU).features.taps[0] is whole.features.taps[0]


def test_a_copy_to_a_gpu_is_pinned_and_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        calls.append("pinned")
        return tensor

    def to(tensor: torch.Tensor, device: torch.device, *, non_blocking: bool) -> torch.Tensor:
        calls.append((device, non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    gpu = torch.device("cuda", 1)
    moved(torch.zeros(2), gpu)
    assert calls == ["pinned", (gpu, True)]
