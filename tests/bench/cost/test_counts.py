from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.cost.counts import components, counted, flop_costs, parameter_counts, total
from bench.cost.subject import (
    LibraryStep,
    Subject,
    class_names,
    configs_at,
    make_subject,
    random_batch,
    random_clip,
)
from bench.errors import BenchError
from bench.studies.study import load_study
from weakclip.config import MICRO, PAPER, PlainDecoder
from weakclip.network.build import build_model
from weakclip.training.loop import fit
from weakclip.training.recipe import Batch, Recipe

STUDY = load_study("components")
CONFIGS = configs_at(STUDY, "micro")
TOKENS = 64 + 1  # of a micro image: 8 x 8 patches and the class token
WIDTH = 128  # of micro-CLIP's towers
CLASSES, COUNT = 21, 3


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def paper() -> Subject:
    return make_subject(PAPER, "paper")


def test_paper_size_has_the_parameters_that_were_measured_of_the_release(paper: Subject) -> None:
    model = paper.model
    parts = {name: count(module) / 1e6 for name, module in components(model).items()}
    scales = sum(
        parameter.numel() / 1e6
        for name, parameter in model.matching.named_parameters()
        if name.endswith(".scale")
    )
    assert {name: round(millions, 2) for name, millions in parts.items()} == {
        "image tower": 86.83, "text tower": 63.40, "prompt": 0.0, "adapter": 7.09,
        "matching": 6.84, "fpn": 3.17, "head": 4.14,
    }  # fmt: skip
    assert (round(parts["prompt"], 4), round(scales, 3)) == (0.0041, 0.001)
    assert round(sum(parts.values()), 2) == 171.46
    assert sum(parts.values()) * 1e6 == pytest.approx(count(model))


def test_parameters_are_counted_by_component() -> None:
    found = parameter_counts(make_subject(MICRO, "micro").model)
    assert found["image tower"]["trainable"] == found["text tower"]["trainable"] == 0
    assert found["head"]["trainable"] == found["head"]["total"] == 146_853


@pytest.mark.parametrize("name", CONFIGS)
def test_components_add_up_to_a_whole_step(name: str) -> None:
    found = total(flop_costs(make_subject(CONFIGS[name], "micro").model, 2, 128).values())
    model = make_subject(CONFIGS[name], "micro").model.to("meta").train()
    with counted():
        with FlopCounterMode(display=False) as forward:
            output = model(model.encode(torch.empty(2, 3, 128, 128, device="meta")))
        with FlopCounterMode(display=False) as backward:
            torch.autograd.backward(output.logits.sum() + output.score_map.sum())
    assert found.forward == forward.get_total_flops() > 0
    assert found.backward == backward.get_total_flops() > 0


def test_flops_are_those_of_the_formulas() -> None:
    found = flop_costs(make_subject(MICRO, "micro").model, COUNT, 128)
    tokens = TOKENS * COUNT
    block = 2 * tokens * 12 * WIDTH**2 + 2 * 2 * tokens * TOKENS * WIDTH
    patches = 2 * COUNT * 64 * (3 * 16**2) * WIDTH
    # The tower pools patches by their mean, which is projected apart from the tokens.
    projections = 2 * (tokens * WIDTH * WIDTH)
    assert found["image tower"].forward == 6 * block + patches + projections
    assert found["image tower"].backward == 0
    deconvolution = 2 * COUNT * WIDTH**2 * 4 * 64  # the first of level 0, before a non-linearity
    assert found["adapter"].forward == deconvolution
    assert found["adapter"].backward == 2 * deconvolution
    assert found["score map"].forward == 2 * COUNT * CLASSES * WIDTH * 64
    cells = COUNT * (32**2 + 16**2 + 8**2 + 4**2)
    # The last deconvolutions of levels 0 and 1 are merged with the laterals that follow them.
    kernels = 2 * 2 * WIDTH * 48 * (4 * WIDTH) + 2 * 2 * WIDTH * 48
    merged = 2 * COUNT * (16**2 + 8**2) * WIDTH * 4 * 48
    plain = 2 * COUNT * (8**2 + 4**2) * WIDTH * 48
    neck = kernels + merged + plain + 2 * cells * 48 * (CLASSES + 9 * 48)
    assert found["fpn"].forward == neck
    stages = 32**2 + 16**2 + (8**2 + 16**2) + (4**2 + 8**2 + 16**2)
    classified = 32**2 + 3 * 16**2  # each level before its last doubling
    assert found["head"].forward == 2 * COUNT * 48 * (9 * 48 * stages + CLASSES * classified)


def test_what_is_switched_off_at_micro_size_is_off_at_paper_size() -> None:
    found = configs_at(STUDY, "paper")
    assert found["full"] == PAPER
    plain = PlainDecoder(channels=256, dropout=0.1, classifier_std=0.01)
    assert found["no-text-guidance"].decoder == plain
    assert {row.name: row.config for row in STUDY.rows} == CONFIGS


def test_refuses_a_study_of_other_methods() -> None:
    with pytest.raises(BenchError, match="expected a study of WeakCLIP's own"):
        configs_at(load_study("comparison"), "micro")


def test_refuses_an_unknown_size() -> None:
    with pytest.raises(BenchError, match="did you mean 'paper'"):
        random_clip("papre")


def test_the_measured_step_is_the_step_of_the_training_loop() -> None:
    subject = make_subject(MICRO, "micro")
    batch = random_batch("micro", 2)
    torch.manual_seed(3)
    losses = LibraryStep(subject)(batch)
    other = build_model(MICRO, random_clip("micro"), class_names("micro"))
    kept = Batch(
        features=other.encode(batch.images),
        seeds=batch.seeds,
        grid_images=subject.grid_images(batch.images),
    )
    torch.manual_seed(3)
    recipe = Recipe(iterations=1, warmup=0)
    (line,) = fit(other, subject.supervision, lambda _: kept, recipe)
    for name, value in losses.items():
        assert float(value) == pytest.approx(line[name], rel=1e-5)
    pairs = zip(subject.model.trainable_parameters(), other.trainable_parameters(), strict=True)
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs)
