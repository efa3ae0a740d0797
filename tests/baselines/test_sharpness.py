from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.sharpness import Aggregate, record_scores, select_template, sharpness
from weakclip.clip.load import load_clip
from weakclip.stages.protocols import ImageStack, Setting

torch.set_num_threads(1)

SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("dog", "cat", "sofa"),
    background_words=(),
    device=torch.device("cpu"),
)
DATA = ImageStack(
    torch.randint(
        0, 256, (4, 3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    ),
    torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 1]]).bool(),
)
TEMPLATES = ("a photo of a {}.", "a {}.", "{}")


@pytest.mark.parametrize("aggregate", ["ratio-of-sums", "mean-of-ratios"])
def test_sharpness_is_variance_over_mean_of_the_present_classes(aggregate: Aggregate) -> None:
    scores = torch.tensor([[0.6, 0.2, 0.2], [0.9, 0.05, 0.05], [0.1, 0.3, 0.6], [0.2, 0.4, 0.4]])
    present = [np.array([0.6, 0.2]), np.array([0.1, 0.3, 0.6]), np.array([0.4, 0.4])]
    variances, means = [each.var() for each in present], [each.mean() for each in present]
    expected = {
        "ratio-of-sums": sum(variances) / sum(means),
        "mean-of-ratios": np.mean([v / m for v, m in zip(variances, means, strict=True)]),
    }
    value = sharpness(scores, DATA.image_labels, aggregate=aggregate)
    assert value == pytest.approx(expected[aggregate], rel=1e-6)


def test_the_two_aggregates_may_disagree() -> None:
    tags = torch.ones(2, 2, dtype=torch.bool)
    scores = torch.tensor([[0.5, 0.5], [0.01, 0.09]])
    assert sharpness(scores, tags) < sharpness(scores, tags, aggregate="mean-of-ratios")


def test_images_of_one_class_say_nothing() -> None:
    with pytest.raises(ValueError, match="two tags or more"):
        sharpness(torch.rand(2, 3), torch.eye(3).bool()[:2])


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="image_labels"):
        sharpness(torch.rand(2, 3), torch.ones(2, 2, dtype=torch.bool))


def test_recorded_scores_are_probabilities_over_the_classes() -> None:
    recorded = record_scores(SETTING, DATA, TEMPLATES)
    assert tuple(recorded) == TEMPLATES
    for scores in recorded.values():
        assert scores.shape == (4, 3)
        assert torch.allclose(scores.sum(dim=1), torch.ones(4), atol=1e-5)
    assert not torch.equal(recorded[TEMPLATES[0]], recorded[TEMPLATES[2]])


def test_the_template_of_lowest_sharpness_is_chosen() -> None:
    chosen, values = select_template(SETTING, DATA, TEMPLATES)
    assert chosen == sorted(TEMPLATES, key=values.__getitem__)[0]
    recorded = record_scores(SETTING, DATA, TEMPLATES)
    assert values == {t: sharpness(recorded[t], DATA.image_labels) for t in TEMPLATES}


def test_no_template_is_an_error() -> None:
    with pytest.raises(ValueError, match="one or more"):
        select_template(SETTING, DATA, ())
