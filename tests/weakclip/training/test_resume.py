"""A training that was killed and goes on ends with the bits of one that was not."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch

from weakclip.clip.load import load_clip
from weakclip.config import MICRO
from weakclip.network.build import build_model
from weakclip.training import loop as training
from weakclip.training.execution import REFERENCE, Execution
from weakclip.training.loop import fit
from weakclip.training.losses import build_supervision, images_on_grid
from weakclip.training.recipe import Batch, Recipe
from weakclip.training.resume import Checkpoint, is_damaged

if TYPE_CHECKING:
    from pathlib import Path

CLIP = load_clip("random-micro")
NAMES = ("background", "dog", "cat")
RECIPE = Recipe(iterations=6, batch_size=2, learning_rate=1e-3, warmup=2, log_every=4)


class KilledError(Exception):
    """Stands for the end of the process."""


def batch(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    labels = torch.randint(0, 3, (2, 64, 64), generator=generator)
    tower = CLIP.image.configured(taps=MICRO.taps, class_token="clip")
    grid = images_on_grid(images, (32, 32), mean=CLIP.mean, std=CLIP.std)
    return Batch(tower(images), labels, grid)


def train(
    path: Path | None,
    stop_after: int = 0,
    recipe: Recipe = RECIPE,
    execution: Execution = REFERENCE,
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]], list[int]]:
    """Weights, curve and the steps done by a training in a new process's state."""
    torch.manual_seed(0)
    model = build_model(MICRO, CLIP, NAMES, seed=0)
    steps = []

    def report(step: int, _: int) -> None:
        steps.append(step)
        if step == stop_after:
            raise KilledError

    supervision = build_supervision(MICRO.supervision, MICRO.tau)
    try:
        curve = fit(
            model, supervision, batch, recipe, report=report, resume=path, execution=execution
        )
    except KilledError:
        curve = []
    return {k: v.clone() for k, v in model.state_dict().items()}, curve, steps


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Checkpoint", partial(Checkpoint, every=0.0))


@pytest.mark.usefixtures("every_step")
def test_a_training_killed_twice_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, curve, _ = train(None)
    path = tmp_path / "states" / "run.pt"
    assert train(path, stop_after=2)[2] == [1, 2]
    torch.manual_seed(99)  # whatever the next process did before
    assert train(path, stop_after=5)[2] == [3, 4, 5]
    weights, resumed_curve, steps = train(path)
    assert steps == [6]
    assert resumed_curve == curve
    assert all(torch.equal(whole[name], weights[name]) for name in whole)
    assert [item.name for item in path.parent.iterdir()] == ["run.pt"]


@pytest.mark.usefixtures("every_step", "heeded_interrupts")
def test_ctrl_c_saves_the_step_that_was_done(tmp_path: Path) -> None:
    whole, curve, _ = train(None)
    path = tmp_path / "state.pt"

    class InterruptedBatch:
        def __call__(self, step: int) -> Batch:
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return batch(step)

    torch.manual_seed(0)
    model = build_model(MICRO, CLIP, NAMES, seed=0)
    supervision = build_supervision(MICRO.supervision, MICRO.tau)
    with pytest.raises(KeyboardInterrupt):
        fit(model, supervision, InterruptedBatch(), RECIPE, resume=path)
    weights, resumed, steps = train(path)
    assert steps[0] == 4
    assert resumed == curve
    assert all(torch.equal(weights[name], whole[name]) for name in whole)


def test_a_training_that_had_ended_is_not_done_again(tmp_path: Path) -> None:
    whole, curve, _ = train(tmp_path / "run.pt")
    weights, again, steps = train(tmp_path / "run.pt")
    assert (steps, again) == ([], curve)
    assert all(torch.equal(whole[name], weights[name]) for name in whole)


def test_without_waiting_long_enough_only_the_end_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "Checkpoint", partial(Checkpoint, every=1e9))
    train(tmp_path / "run.pt", stop_after=3)
    assert not (tmp_path / "run.pt").exists()
    train(tmp_path / "run.pt")
    assert (tmp_path / "run.pt").exists()


def test_a_state_of_another_recipe_is_refused_and_a_damaged_one_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.pt"
    whole = train(path)[0]
    with pytest.raises(ValueError, match=r"training state run.pt: expected recipe .* remove"):
        train(path, recipe=replace(RECIPE, warmup=1))
    path.write_bytes(path.read_bytes()[:1000])
    weights, _, steps = train(path)
    assert steps == [1, 2, 3, 4, 5, 6]
    assert all(torch.equal(whole[name], weights[name]) for name in whole)
    assert "training state run.pt: cannot be read; training starts from the start" in caplog.text
    assert not is_damaged(path)


@pytest.mark.usefixtures("every_step")
def test_a_training_goes_on_with_batches_made_ahead(tmp_path: Path) -> None:
    whole, curve, _ = train(None)
    ahead = Execution(prefetch=2)
    assert train(tmp_path / "run.pt", stop_after=3, execution=ahead)[2] == [1, 2, 3]
    weights, resumed_curve, steps = train(tmp_path / "run.pt", execution=ahead)
    assert (steps, resumed_curve) == ([4, 5, 6], curve)
    assert all(torch.equal(whole[name], weights[name]) for name in whole)


@pytest.mark.usefixtures("every_step")
def test_a_state_of_another_precision_is_refused(tmp_path: Path) -> None:
    half = Execution(precision="bfloat16")
    train(tmp_path / "single.pt", stop_after=1)
    with pytest.raises(ValueError, match="expected arithmetic bfloat16, got float32; remove"):
        train(tmp_path / "single.pt", execution=half)
    train(tmp_path / "half.pt", stop_after=1, execution=half)
    with pytest.raises(ValueError, match="expected arithmetic float32, got bfloat16; remove"):
        train(tmp_path / "half.pt")
