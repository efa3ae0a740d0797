from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from weakclip.clip.load import load_clip
from weakclip.labels import IGNORE
from weakclip.stages.seeds import (
    Affinity,
    CAMSource,
    FixedBand,
    OtsuBand,
    PatchSoftmax,
    SoftmaxGradCAM,
    class_activation_maps,
    encode_texts,
    seeds_from,
)

CLIP = load_clip("random-micro")
TEXTS = encode_texts(CLIP, ("dog", "cat", "sofa"), ("grass", "sky"))
IMAGES = torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([[True, False, False], [True, True, False], [False, False, True]])
SOURCES: tuple[CAMSource, ...] = (
    PatchSoftmax(),
    PatchSoftmax(path="value"),
    SoftmaxGradCAM(),
    SoftmaxGradCAM(layer="ln_1"),
    SoftmaxGradCAM(layer="ln_1", pooling="patches", stretch="twice"),
    SoftmaxGradCAM(affinity=Affinity()),
    SoftmaxGradCAM(affinity=Affinity(boxes="release", power=1)),
)


@pytest.mark.parametrize("source", SOURCES, ids=repr)
def test_maps_are_normalised_and_only_of_tagged_classes(source: CAMSource) -> None:
    cam = class_activation_maps(CLIP, IMAGES, LABELS, TEXTS, source)
    assert cam.shape == (3, 3, 4, 6)
    assert float(cam.min()) >= 0
    assert float(cam.max()) <= 1
    assert not cam[~LABELS].any()
    assert not cam.requires_grad


@pytest.mark.parametrize("source", SOURCES, ids=repr)
def test_an_images_maps_do_not_depend_on_its_batch(source: CAMSource) -> None:
    together = class_activation_maps(CLIP, IMAGES, LABELS, TEXTS, source)
    alone = class_activation_maps(CLIP, IMAGES[1:2], LABELS[1:2], TEXTS, source)
    assert torch.allclose(together[1:2], alone, atol=1e-3)  # one part in 255 at most moves a box


def test_no_weight_of_the_clip_gets_a_gradient() -> None:
    class_activation_maps(CLIP, IMAGES, LABELS, TEXTS, SoftmaxGradCAM())
    assert all(p.grad is None for p in CLIP.image.parameters())


def test_an_image_without_tags_is_background() -> None:
    none = torch.zeros_like(LABELS)
    for source in (PatchSoftmax(), SoftmaxGradCAM()):
        cam = class_activation_maps(CLIP, IMAGES, none, TEXTS, source)
        assert not seeds_from(cam, (64, 96), FixedBand()).any()


def test_a_wider_band_leaves_more_undecided_and_changes_no_decision() -> None:
    cam = class_activation_maps(CLIP, IMAGES, LABELS, TEXTS, PatchSoftmax())
    rule = OtsuBand(width=0.0)
    closed, wide = (seeds_from(cam, (64, 96), replace(rule, width=w)) for w in (0.0, 1.0))
    assert int((wide == IGNORE).sum()) > int((closed == IGNORE).sum())
    decided = wide != IGNORE
    assert torch.equal(wide[decided], closed[decided])


def test_without_background_words_there_are_no_background_texts() -> None:
    texts = encode_texts(CLIP, ("dog", "cat"), ())
    assert texts.background.shape == (0, texts.foreground.shape[1])


def test_stretching_twice_brings_the_maximum_to_one() -> None:
    images, labels = IMAGES[1:2], LABELS[1:2]
    once, twice = (
        class_activation_maps(CLIP, images, labels, TEXTS, SoftmaxGradCAM(stretch=each))
        for each in ("once", "twice")
    )
    highest = twice[labels].amax(dim=(1, 2))
    assert bool((highest > 1 - 1e-5).all())
    assert bool((once[labels].amax(dim=(1, 2)) <= highest).all())


def test_a_share_of_the_blocks_is_rounded_up_and_is_at_least_one() -> None:
    assert Affinity().last_blocks(12) == 8
    assert Affinity(blocks=8 / 11).last_blocks(11) == 8
    assert Affinity(blocks=0.01).last_blocks(12) == 1
