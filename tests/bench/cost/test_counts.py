from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.cost.counts import components, flop_costs, parameter_costs, whole_flops
from bench.cost.subject import (
    LibraryStep,
    Subject,
    class_names,
    config_at,
    make_subject,
    random_batch,
    random_clip,
)
from bench.errors import BenchError
from bench.studies.study import load_study
from weakclip.config import MICRO, PAPER, CoAttention, PlainDecoder, WeakCLIPConfig
from weakclip.network.build import build_model
from weakclip.training.loop import fit
from weakclip.training.recipe import Batch, Recipe

STUDY = load_study("components")
TOKENS = 64 + 1  # of a micro image: 8 x 8 patches and the class token
WIDTH = 128  # of micro-CLIP's towers
CLASSES, COUNT = 21, 3


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def configs() -> dict[str, WeakCLIPConfig]:
    found = {}
    for row in STUDY.rows:
        assert isinstance(row.config, WeakCLIPConfig)
        found[row.name] = row.config
    return found


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


def test_a_layer_that_is_stacked_as_in_the_release_is_dead() -> None:
    matching = MICRO.matching
    assert isinstance(matching, CoAttention)
    config = WeakCLIPConfig(
        matching=CoAttention(width=matching.width, depth=2, stacking="last"),
        taps=MICRO.taps,
        decoder=MICRO.decoder,
        supervision=MICRO.supervision,
    )
    subject = make_subject(config, "micro")
    found = parameter_costs(subject, "micro")
    (text_layer, _), (image_layer, _) = (
        getattr(subject.model.matching, side).layers for side in ("text_update", "image_update")
    )
    assert found["matching"].dead == count(text_layer) + count(image_layer) > 0
    assert [cost.dead for name, cost in found.items() if name != "matching"] == [0] * 6
    assert found["image tower"].trainable == found["text tower"].trainable == 0


@pytest.mark.parametrize("name", configs())
def test_components_add_up_to_a_whole_step(name: str) -> None:
    parts, whole = flop_costs(configs()[name], "micro", 2), whole_flops(configs()[name], "micro", 2)
    assert sum(cost.forward for cost in parts.values()) == whole.forward > 0
    assert sum(cost.backward for cost in parts.values()) == whole.backward > 0


def test_flops_are_those_of_the_formulas() -> None:
    found = flop_costs(MICRO, "micro", COUNT)
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
    found = configs()
    full = found["full"]
    assert config_at("paper", full, full) == PAPER
    plain = config_at("paper", found["no-text-guidance"], full)
    assert plain.decoder == PlainDecoder(channels=256, dropout=0.1, classifier_std=0.01)
    for name, config in found.items():
        assert config_at("micro", config, full) == config, name


def test_a_number_that_is_changed_is_changed_at_paper_size() -> None:
    full = configs()["full"]
    assert config_at("paper", replace(full, tau=0.2), full) == replace(PAPER, tau=0.2)


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
