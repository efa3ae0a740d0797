from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from baselines.descent import Descent, descend

if TYPE_CHECKING:
    from collections.abc import Sequence

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
