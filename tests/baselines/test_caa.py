from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from baselines.caa import CAA
from baselines.clip_es import MICRO
from baselines.refinement import Constant
from weakclip.clip.load import load_clip
from weakclip.stages.protocols import Setting
from weakclip.stages.seeds import Affinity

torch.set_num_threads(1)

SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("dog", "cat", "sofa"),
    background_words=("grass", "sky"),
    device=torch.device("cpu"),
)
IMAGES = torch.randint(
    0, 256, (3, 3, 70, 90), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
LABELS = torch.tensor([[True, False, False], [True, True, False], [False, False, False]])
CAMS = torch.rand(3, 3, 5, 6, generator=torch.Generator().manual_seed(1)) * LABELS[:, :, None, None]


def test_scores_are_maps_with_a_background_at_image_size() -> None:
    scores = CAA().build(SETTING).scores(IMAGES, LABELS, CAMS)
    assert scores.shape == (3, 4, 70, 90)
    assert scores.dtype == torch.float32
    assert float(scores.min()) >= 0
    assert float(scores.max()) <= 1
    assert not scores[:, 1:][~LABELS].any()
    assert not scores[2].argmax(dim=0).any()  # no tags: background everywhere
    assert torch.allclose(scores[:, 0], 1 - scores[:, 1:].amax(dim=1), atol=1e-6)


def test_on_initial_maps_it_is_what_clip_es_does() -> None:
    initial = replace(MICRO, source=replace(MICRO.source, affinity=None)).build(SETTING)
    refined = CAA().build(SETTING).refine(IMAGES, LABELS, initial.cams(IMAGES, LABELS))
    assert torch.allclose(refined, MICRO.build(SETTING).cams(IMAGES, LABELS), atol=1e-3)
    assert refined.any()


def test_maps_of_any_grid_are_taken() -> None:
    large = torch.nn.functional.interpolate(CAMS, (20, 24), mode="bilinear", align_corners=False)
    assert CAA().build(SETTING).scores(IMAGES, LABELS, large).shape == (3, 4, 70, 90)


def test_an_images_scores_do_not_depend_on_the_others() -> None:
    refinement = CAA().build(SETTING)
    scores, order = refinement.scores(IMAGES, LABELS, CAMS), [2, 0, 1]
    again = refinement.scores(IMAGES[order], LABELS[order], CAMS[order])
    assert torch.allclose(again, scores[order], atol=1e-4)
    assert torch.equal(refinement.scores(IMAGES, LABELS, CAMS), scores)


def test_a_map_of_zeros_stays_zero() -> None:
    refined = CAA().build(SETTING).refine(IMAGES, LABELS, torch.zeros_like(CAMS))
    assert not refined.any()


def test_boxes_and_background_are_values() -> None:
    whole = CAA(affinity=Affinity(boxes="whole"), background=Constant(value=0.3)).build(SETTING)
    scores = whole.scores(IMAGES, LABELS, CAMS)
    assert float((scores[:, 0] - 0.3).abs().max()) < 1e-6
    released = CAA(background=Constant(value=0.3)).build(SETTING)
    assert not torch.allclose(released.scores(IMAGES, LABELS, CAMS), scores, atol=1e-3)


def test_what_does_not_belong_together_is_refused() -> None:
    refinement = CAA().build(SETTING)
    with pytest.raises(ValueError, match="same images and classes"):
        refinement.scores(IMAGES, LABELS, CAMS[:2])
    with pytest.raises(TypeError, match="uint8"):
        refinement.scores(IMAGES.float(), LABELS, CAMS)


def test_nothing_is_trained() -> None:
    assert CAA().build(SETTING).parameter_counts()["image tower"]["trainable"] == 0
