from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.studies.preset import CARTOON
from weakclip.config import MICRO
from weakclip.stages.plan import SeededTraining, TrainingFree, passes_recipe, plan_for
from weakclip.stages.seeds import SoftmaxGradCAM
from weakclip.training.recipe import Recipe

if TYPE_CHECKING:
    from weakclip.clip.bundle import CLIPBundle


def test_micro_is_trained_as_in_the_benchmark(clip: CLIPBundle) -> None:
    plan = plan_for(clip, "weakclip")
    method = plan.method
    assert isinstance(method, SeededTraining)
    found = (method.recipe, method.source, method.rule, method.framing, method.views, plan.crf)
    assert found == (
        CARTOON.recipe, CARTOON.source, CARTOON.rule, CARTOON.framing, CARTOON.views, CARTOON.crf
    )  # fmt: skip
    assert method.config == MICRO
    assert plan.words.template == CARTOON.template


def test_another_clip_gets_the_papers_settings(clip: CLIPBundle) -> None:
    large = replace(clip, name="ViT-B-16/openai")
    free, trained = (plan_for(large, name) for name in ("clip-es", "weakclip"))
    assert isinstance(free.method, TrainingFree)
    assert isinstance(free.method.source, SoftmaxGradCAM)
    assert free.method.source.layer == "ln_1"
    assert isinstance(trained.method, SeededTraining)
    assert max(trained.method.config.taps) == large.image.depth - 1
    assert (trained.method.framing.size, trained.method.tile) == (512, 512)
    finer = plan_for(replace(large, patch_size=14), "weakclip").method
    assert isinstance(finer, SeededTraining)
    assert (finer.framing.size, finer.tile) == (504, 504)
    with pytest.raises(ValueError, match="unknown method 'clip'; known: clip-es, weakclip"):
        plan_for(clip, "clip")  # type: ignore[arg-type]


def test_steps_grow_with_the_images() -> None:
    assert passes_recipe(10).iterations == 200
    assert passes_recipe(100_000) == Recipe()
    assert passes_recipe(1000).warmup == 141


def test_sizes_that_cannot_be_are_refused(clip: CLIPBundle) -> None:
    plan = plan_for(clip, "weakclip")
    assert isinstance(plan.method, SeededTraining)
    with pytest.raises(ValueError, match="max_side: expected 32"):
        replace(plan, max_side=8)
    with pytest.raises(ValueError, match="tile: expected 32"):
        replace(plan.method, tile=0)
