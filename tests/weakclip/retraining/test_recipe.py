from __future__ import annotations

import pytest

from weakclip.retraining.recipe import SGD, Crops, Poly, RetrainingRecipe, learning_rate
from weakclip.stages.retrain_presets import DEEPLAB_V2, DEEPLAB_V3PLUS


@pytest.mark.parametrize("step", [0, 1, 9_999, 19_999])
def test_the_poly_schedule_is_the_formula(step: int) -> None:
    rate = learning_rate(DEEPLAB_V3PLUS.recipe, step)
    assert rate == pytest.approx((1e-2 - 1e-4) * (1 - step / 20_000) ** 0.9 + 1e-4, rel=1e-12)


def test_a_schedule_may_change_every_tenth_step_only() -> None:
    rates = [learning_rate(DEEPLAB_V2.recipe, step) for step in range(21)]
    assert len(set(rates[:10])) == len(set(rates[10:20])) == 1
    assert rates[10] == pytest.approx(2.5e-4 * (1 - 10 / 20_000) ** 0.9, rel=1e-12)


def test_the_warm_up_is_linear() -> None:
    schedule = Poly(power=0, warmup=10, warmup_ratio=0.2)
    recipe = RetrainingRecipe(optimiser=SGD(learning_rate=1.0), schedule=schedule)
    assert [learning_rate(recipe, step) for step in (0, 5, 10)] == pytest.approx([0.2, 0.6, 1.0])


def test_values_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one iteration"):
        RetrainingRecipe(iterations=0)
    with pytest.raises(ValueError, match="expected 32 pixels or more, got 8"):
        Crops(size=8)
    with pytest.raises(ValueError, match="expected positive scales"):
        Crops(scales=(0.0, 1.0))
    with pytest.raises(ValueError, match="poly schedule"):
        Poly(every=0)
