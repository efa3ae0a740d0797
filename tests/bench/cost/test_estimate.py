from __future__ import annotations

from dataclasses import replace

import pytest

from ablations.comparison import CAMS, REFINEMENTS
from bench.cost.counts import flop_costs, total
from bench.cost.estimate import RATE, estimate
from bench.cost.subject import make_subject
from bench.studies.method import MethodRow, OfPreset
from bench.studies.preset import CARTOON, VOC
from weakclip.config import MICRO, PAPER


def test_an_estimate_is_steps_and_images_times_what_is_counted() -> None:
    other = MethodRow(cam=CAMS["cam"], refinement=REFINEMENTS["pamr"])
    found = estimate(CARTOON, [MICRO, MICRO, other])
    cost = total(flop_costs(make_subject(MICRO, "micro").model, 1, 128).values())
    recipe = CARTOON.recipe
    one = recipe.iterations * recipe.batch_size * (cost.forward + cost.backward)
    one += (600 + 1500) * cost.forward
    assert (found.runs, found.trained) == (3, 2)
    assert found.flops == pytest.approx(2 * one)
    assert found.hours == pytest.approx(2 * one / RATE / 3600)
    assert "1 runs of other methods are not counted" in found.line
    assert "retraining" not in found.line
    again = estimate(CARTOON, [replace(other, retraining=OfPreset())])
    assert "1 retrainings are not counted" in again.line


def test_photographs_are_counted_by_their_published_lists() -> None:
    found = estimate(VOC, [PAPER])
    assert (found.steps, found.images) == (20_000, 1_464 + 1_449)
    halved = replace(VOC, recipe=replace(VOC.recipe, iterations=10_000))
    assert estimate(halved, [PAPER]).flops < found.flops
