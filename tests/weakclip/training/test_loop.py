from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from weakclip.clip.load import load_clip
from weakclip.config import (
    MICRO,
    Cosine,
    FixedTemplate,
    LearningRates,
    Resample,
    ScoreMapDecoder,
    WeakCLIPConfig,
)
from weakclip.description import describe
from weakclip.network.build import build_model
from weakclip.training.loop import fit, learning_rate
from weakclip.training.losses import build_supervision, images_on_grid
from weakclip.training.recipe import Batch, Recipe

CLIP = load_clip("random-micro")
NAMES = ("background", "dog", "cat")
RECIPE = Recipe(iterations=4, batch_size=2, learning_rate=1e-3, warmup=1, log_every=2)


def batch(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    seeds = torch.randint(0, 3, (2, 64, 64), generator=generator)
    seeds[:, :16] = 255
    tower = CLIP.image.configured(taps=MICRO.taps, class_token="clip")
    grid = images_on_grid(images, (32, 32), mean=CLIP.mean, std=CLIP.std)
    return Batch(tower(images), seeds, grid)


def trained(
    config: WeakCLIPConfig = MICRO,
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    torch.manual_seed(0)
    model = build_model(config, CLIP, NAMES, seed=0)
    curve = fit(model, build_supervision(config.supervision, config.tau), batch, RECIPE)
    assert not model.training
    return {k: v.clone() for k, v in model.state_dict().items()}, curve


def test_two_trainings_end_with_the_same_weights() -> None:
    (first, curve), (second, again) = trained(), trained()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert curve == again
    assert [row["step"] for row in curve] == [2, 4]
    assert set(curve[0]) == {"step", "seeding", "boundary", "matching", "loss"}


@pytest.mark.parametrize("slow", ["prompt", "adapter", "matching", "decoder"])
def test_a_component_with_a_hundredth_of_the_rate_moves_less_and_the_others_as_before(
    slow: str,
) -> None:
    start = build_model(MICRO, CLIP, NAMES, seed=0).state_dict()
    one_step = replace(RECIPE, iterations=1, warmup=0, weight_decay=0.0)

    def moved(config: WeakCLIPConfig) -> dict[str, float]:
        torch.manual_seed(0)
        model = build_model(config, CLIP, NAMES, seed=0)
        fit(model, build_supervision(config.supervision, config.tau), batch, one_step)
        state = dict(model.named_parameters())
        distance = dict.fromkeys(model.components, 0.0)
        for name, parameter in state.items():
            component = name.split(".")[0]
            if component in distance:
                distance[component] += float((parameter.detach() - start[name]).abs().sum())
        return distance

    usual = moved(replace(MICRO, rates=LearningRates()))
    slowed = moved(replace(MICRO, rates=LearningRates(**{slow: 0.01})))
    for component, distance in usual.items():
        factor = 0.01 if component == slow else 1.0
        assert slowed[component] == pytest.approx(factor * distance, rel=0.02), component


def test_a_factor_that_would_not_train_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rates\.matching: expected a positive factor, got 0"):
        LearningRates(matching=0.0)


def test_one_rate_for_all_leaves_descriptions_and_the_optimiser_as_they_were() -> None:
    plain = replace(MICRO, rates=LearningRates())
    assert "rates" not in describe(plain)
    assert "rates" in describe(replace(MICRO, rates=LearningRates(matching=0.1)))
    model = build_model(plain, CLIP, NAMES, seed=0)
    assert list(model.rate_groups()) == [1.0]


def test_the_frozen_towers_do_not_move() -> None:
    before = {k: v.clone() for k, v in CLIP.image.state_dict().items()}
    trained()
    assert all(torch.equal(before[k], v) for k, v in CLIP.image.state_dict().items())


def test_a_variant_without_weights_is_not_trained() -> None:
    config = WeakCLIPConfig(
        prompt=FixedTemplate(), adapter=Resample(), matching=Cosine(), decoder=ScoreMapDecoder(),
        taps=MICRO.taps,
    )  # fmt: skip
    assert trained(config)[1] == []


def test_a_loss_that_is_not_finite_stops_training() -> None:
    model = build_model(MICRO, CLIP, NAMES, seed=0)
    with torch.no_grad():
        next(iter(model.decoder.parameters())).fill_(float("nan"))
    with pytest.raises((FloatingPointError, ValueError)):
        fit(model, build_supervision(MICRO.supervision, MICRO.tau), batch, RECIPE)


def test_the_schedule_warms_up_and_decays() -> None:
    recipe = Recipe(iterations=100, warmup=10, learning_rate=1.0, final_learning_rate=0.01)
    rates = np.array([learning_rate(recipe, step) for step in range(100)])
    assert rates[0] < 1e-5
    assert rates.argmax() == 10
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(0.01, abs=0.01)


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"batch_size": 0}])
def test_an_empty_recipe_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Recipe(**wrong)
