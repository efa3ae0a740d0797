from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.studies.preset import CARTOON
from weakclip.config import MICRO
from weakclip.masking.plan import passes_recipe, plan_for
from weakclip.stages.maps import CLIPMaps
from weakclip.stages.network import SeededTraining
from weakclip.stages.refine import Keep, Power
from weakclip.stages.seeds import SoftmaxGradCAM
from weakclip.training.recipe import Recipe

if TYPE_CHECKING:
    from weakclip.clip.bundle import CLIPBundle


def test_micro_is_trained_as_in_the_benchmark(clip: CLIPBundle) -> None:
    plan, benchmark = plan_for(clip, "weakclip"), CARTOON.method(MICRO)
    ours, theirs = plan.method.refinement, benchmark.refinement
    assert isinstance(ours, SeededTraining)
    assert isinstance(theirs, SeededTraining)
    assert replace(ours, view_seed=theirs.view_seed, flip=theirs.flip) == theirs
    assert (plan.method.maps, plan.method.crf) == (benchmark.maps, benchmark.crf)
    assert plan.words.template == CARTOON.words.template


def test_another_clip_gets_the_papers_settings(clip: CLIPBundle) -> None:
    large = replace(clip, name="ViT-B-16/openai")
    free, trained = (plan_for(large, name).method for name in ("clip-es", "weakclip"))
    assert free.refinement == Keep(background=Power(alpha=1))
    assert isinstance(free.maps, CLIPMaps)
    assert isinstance(free.maps.source, SoftmaxGradCAM)
    assert free.maps.source.layer == "ln_1"
    assert isinstance(trained.refinement, SeededTraining)
    assert max(trained.refinement.config.taps) == large.image.depth - 1
    assert (trained.refinement.framing.size, trained.refinement.tile) == (512, 512)
    finer = plan_for(replace(large, patch_size=14), "weakclip").method.refinement
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
    assert isinstance(plan.method.refinement, SeededTraining)
    with pytest.raises(ValueError, match="max_side: expected 32"):
        replace(plan, max_side=8)
    with pytest.raises(ValueError, match="tile: expected 32"):
        replace(plan.method.refinement, tile=0)
