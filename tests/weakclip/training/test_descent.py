from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from itertools import chain, count, pairwise
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from weakclip.training.descent import Descent, WarmDescent, descend
from weakclip.training.resume import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.random import Generator


class Scalar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(0.0))


def run(recipe: Descent, seed: int = 0) -> tuple[list[float], list[list[int]], list[float]]:
    """Descend a slope of 1: the steps taken by the head, the batches and the draws."""
    body, head = Scalar(), Scalar()
    values: list[float] = [0.0]
    rows: list[list[int]] = []
    draws: list[float] = []

    def loss(batch: Sequence[int], generator: Generator) -> Tensor:
        if rows:
            values.append(float(head.value.detach()))
        rows.append(list(batch))
        draws.append(float(generator.random()))
        return body.value + head.value

    reported: list[tuple[int, int]] = []
    descend(
        recipe, loss, body=body, head=head, count=5, seed=seed,
        report=lambda done, total: reported.append((done, total)),
    )  # fmt: skip
    assert reported == [(step + 1, len(rows)) for step in range(len(rows))]
    assert float(head.value.detach()) == pytest.approx(
        recipe.head_factor * float(body.value.detach())
    )
    values.append(float(head.value.detach()))
    return values, rows, draws


def test_the_rate_decays_by_the_power_law() -> None:
    recipe = Descent(
        epochs=2, batch_size=2, learning_rate=0.5, head_factor=2, momentum=0, weight_decay=0,
        power=0.9,
    )  # fmt: skip
    values, rows, _ = run(recipe)
    steps = [a - b for a, b in pairwise(values)]
    assert len(rows) == 6
    assert steps == pytest.approx([(1 - t / 6) ** 0.9 for t in range(6)], rel=1e-4)


def test_every_image_comes_once_an_epoch_in_an_order_the_seed_decides() -> None:
    recipe = Descent(epochs=2, batch_size=2, weight_decay=0)
    _, rows, draws = run(recipe)
    epochs = (rows[:3], rows[3:])
    assert [sorted(chain(*epoch)) for epoch in epochs] == [list(range(5))] * 2
    assert run(recipe)[1:] == (rows, draws)
    assert run(recipe, seed=1)[2] != draws


def test_a_loss_that_is_not_finite_stops() -> None:
    with pytest.raises(FloatingPointError, match="step 1 of 1; lower the learning rate"):
        descend(
            Descent(epochs=1), lambda _rows, _generator: torch.tensor(float("nan")),
            body=Scalar(), head=Scalar(), count=2, seed=0, report=lambda _done, _total: None,
        )  # fmt: skip
    with pytest.raises(ValueError, match="at least one epoch"):
        Descent(epochs=0)


def test_adamw_by_steps_follows_its_update_rule_and_leaves_out_smaller_batches() -> None:
    recipe = WarmDescent(steps=5, batch_size=2, learning_rate=0.1, warmup=2, weight_decay=0.3)
    gradients, head, rows, steps = [1.0, -2.0, 3.0, 0.5, -1.0], Scalar(), [], count()

    def loss(batch: Sequence[int], _generator: Generator) -> Tensor:
        rows.append(list(batch))
        return gradients[next(steps)] * head.value

    descend(
        recipe, loss, body=nn.Sequential(), head=head, count=5, seed=0,
        report=lambda _done, _total: None,
    )  # fmt: skip
    assert [len(batch) for batch in rows] == [2] * 5
    assert len({*rows[0], *rows[1]}) == 4
    value, first, second = 0.0, 0.0, 0.0
    for t, gradient in enumerate(gradients):
        rate = 0.1 * (1e-6, 0.5 + 5e-7, 0.6, 0.4, 0.2)[t]
        value -= rate * 0.3 * value
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        step = (first / (1 - 0.9 ** (t + 1))) / ((second / (1 - 0.999 ** (t + 1))) ** 0.5 + 1e-8)
        value -= rate * step
    assert float(head.value.detach()) == pytest.approx(value, rel=1e-5)


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    sizes: list[int] = []

    def loss(batch: Sequence[int], _generator: Generator) -> Tensor:
        sizes.append(len(batch))
        return head.value

    head = Scalar()
    descend(
        WarmDescent(steps=2), loss, body=nn.Sequential(), head=head, count=3, seed=0,
        report=lambda _done, _total: None,
    )  # fmt: skip
    assert sizes == [3, 3]
    with pytest.raises(ValueError, match="at least one step"):
        WarmDescent(steps=0)


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        descend(
            WarmDescent(), lambda _rows, _generator: torch.tensor(0.0), body=nn.Sequential(),
            head=Scalar(), count=0, seed=0, report=lambda _done, _total: None,
        )  # fmt: skip


RECIPES: list[Descent | WarmDescent] = [
    Descent(epochs=3, batch_size=3, learning_rate=0.05),  # 9 steps
    WarmDescent(steps=9, batch_size=3, learning_rate=0.05, warmup=3),
]


class StoppedError(Exception):
    """Stands for the end of the process."""


def trained(
    recipe: Descent | WarmDescent, state: Path | None, act: Callable[[int], None] | None = None
) -> tuple[dict[str, Tensor], list[int]]:
    """Weights and statistics of a small network, and the steps that were done here."""
    torch.manual_seed(0)
    images = torch.randn(8, 3)
    parts = nn.ModuleList([nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), nn.Linear(4, 1)])
    steps: list[int] = []

    def loss(rows: Sequence[int], generator: Generator) -> Tensor:
        view = images[list(rows)] * float(generator.random()) + torch.randn(len(rows), 3)
        value: Tensor = parts[1](parts[0](view)).square().mean()
        return value

    def report(step: int, _total: int) -> None:
        steps.append(step)
        if act is not None:
            act(step)

    with suppress(StoppedError, KeyboardInterrupt):
        descend(
            recipe, loss, body=parts[0], head=parts[1], count=8, seed=0, report=report,
            resume=state,
        )  # fmt: skip
    return parts.state_dict(), steps


@pytest.mark.parametrize("recipe", RECIPES, ids=["sgd", "adamw"])
def test_a_training_killed_at_any_step_ends_with_the_same_bits(
    recipe: Descent | WarmDescent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weakclip.training.descent.Checkpoint", partial(Checkpoint, every=0.0))
    whole, steps = trained(recipe, None)
    assert steps == list(range(1, 10))
    done: list[int] = []

    def stop(step: int) -> None:
        if step in {1, 4, 5, 9}:
            raise StoppedError

    for _ in range(5):
        found, steps = trained(recipe, tmp_path / "state.pt", stop)
        done += steps
    assert done == list(range(1, 10))  # nothing twice; the last call found it at its end
    assert all(torch.equal(found[name], value) for name, value in whole.items())


def test_ctrl_c_saves_the_state_after_the_step(tmp_path: Path) -> None:
    whole, _ = trained(RECIPES[0], None)

    def press(step: int) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    _, first = trained(RECIPES[0], tmp_path / "state.pt", press)
    found, second = trained(RECIPES[0], tmp_path / "state.pt")
    assert (first, second) == ([1, 2, 3, 4], [6, 7, 8, 9])
    assert all(torch.equal(found[name], value) for name, value in whole.items())


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    trained(RECIPES[0], tmp_path / "state.pt")
    with pytest.raises(ValueError, match="expected recipe"):
        trained(RECIPES[1], tmp_path / "state.pt")
