from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from baselines.clims import CLIMS, COCO, MICRO, SLIPPED_MOMENTUM, VOC, CLIMSMasker, recoloured
from baselines.clims_network import CLIMSNetwork
from baselines.crops import CropViews, draw_crop
from weakclip.clip.load import load_clip
from weakclip.convnet.backbone import MEAN, STD, Backbone
from weakclip.stages.protocols import ImageStack, Setting
from weakclip.training.descent import Descent
from weakclip.training.views import normalise_images

torch.set_num_threads(1)

SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("dog", "cat", "sofa"),
    background_words=("grass", "sky"),
    device=torch.device("cpu"),
)
TINY_BACKBONE = Backbone(
    name="resnet10t", stride=16, weights=None, channels=(16, 16, 24, 32), frozen_stages=0,
    batch_norm="trained",
)  # fmt: skip
TINY = replace(
    MICRO,
    backbone=TINY_BACKBONE,
    classification=Descent(epochs=1, batch_size=4, learning_rate=1e-3),
    critique=Descent(epochs=2, batch_size=4, learning_rate=1e-3),
    classification_views=CropViews(long_side=(40, 80), size=64),
    critique_views=CropViews(long_side=(40, 80), size=64),
    scales=(1.0, 0.5),
)
IMAGES = torch.randint(
    0, 256, (6, 3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
LABELS = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]]).bool()
DATA = ImageStack(IMAGES, LABELS)


def quiet(_done: int, _steps: int) -> None:
    """Report nothing."""


def fitted(spec: CLIMS = TINY, *, seed: int = 0) -> CLIMSMasker:
    masker = spec.build(SETTING)
    masker.fit(DATA, seed=seed, report=quiet)
    return masker


def test_maps_are_normalised_and_only_of_tagged_classes() -> None:
    cams = fitted().cams(IMAGES, LABELS)
    assert cams.shape == (6, 3, 13, 18)
    assert cams.dtype == torch.float32
    assert not cams.requires_grad
    assert float(cams.min()) >= 0
    assert float(cams.max()) < 1
    assert not cams[~LABELS].any()
    highest = cams[LABELS].amax(dim=(1, 2))
    assert bool(((highest == 0) | (highest > 0.9)).all())
    assert bool((highest > 0.9).any())


def test_an_images_maps_do_not_depend_on_the_others() -> None:
    masker, order = fitted(), [3, 1, 5]
    cams = masker.cams(IMAGES, LABELS)
    assert torch.allclose(masker.cams(IMAGES[order], LABELS[order]), cams[order], atol=1e-5)


def test_a_seed_gives_one_result_and_another_seed_another() -> None:
    first, again, other = (fitted(seed=seed).cams(IMAGES, LABELS) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)


def test_fitting_touches_no_global_randomness_and_no_weight_of_clip() -> None:
    def checksum() -> str:
        digest = hashlib.sha256()
        for tower in (SETTING.clip.image, SETTING.clip.text):
            for parameter in tower.parameters():
                digest.update(parameter.detach().numpy().tobytes())
        return digest.hexdigest()

    state, before = torch.random.get_rng_state(), checksum()
    fitted()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert checksum() == before
    assert all(p.grad is None for p in SETTING.clip.image.parameters())


def test_steps_of_both_stages_are_reported_in_one_count() -> None:
    seen: list[tuple[int, int]] = []
    TINY.build(SETTING).fit(DATA, seed=0, report=lambda done, steps: seen.append((done, steps)))
    assert seen == [(step, 6) for step in range(1, 7)]  # (1 + 2) epochs of 2 batches


def test_mirrored_images_have_mirrored_maps() -> None:
    masker = fitted()
    cams = masker.cams(IMAGES[:, :, :48, :64], LABELS)
    mirrored = masker.cams(IMAGES[:, :, :48, :64].flip(-1), LABELS)
    assert torch.allclose(mirrored.flip(-1), cams, atol=1e-3)


def test_training_brings_clip_to_prefer_what_the_maps_let_through() -> None:
    """The critic's loss falls on images that it is trained on."""
    spec = replace(
        TINY,
        critique=Descent(epochs=8, batch_size=6, learning_rate=0.05, head_factor=1.0),
        critique_views=CropViews(long_side=(64, 64), size=64, mirror=0.0),
    )
    untrained = fitted(replace(spec, critique=replace(spec.critique, learning_rate=0.0)))
    views = torch.stack(
        [draw_crop(i, spec.critique_views, np.random.default_rng(0)) for i in IMAGES]
    )
    losses = []
    for masker in (untrained, fitted(spec)):
        masker.network.train()
        with torch.no_grad():
            losses.append(float(masker._critique_loss(views, LABELS)))
    assert losses[1] < 0.95 * losses[0]


def test_data_of_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 classes, got 2"):
        TINY.build(SETTING).fit(ImageStack(IMAGES, LABELS[:, :2]), seed=0, report=quiet)


def test_impossible_values_are_refused() -> None:
    with pytest.raises(ValueError, match="scales"):
        replace(TINY, scales=())
    with pytest.raises(ValueError, match="random weights must be trained"):
        replace(TINY, stem="fixed")
    with pytest.raises(ValueError, match="expected 3"):
        replace(TINY, class_phrases=("dog",)).build(SETTING)
    with pytest.raises(ValueError, match="long side"):
        CropViews(long_side=(9, 8))
    with pytest.raises(FileNotFoundError, match="weights"):
        CLIMS().build(SETTING)


def test_the_configs_of_the_release_hold_its_values() -> None:
    assert (VOC.critique.epochs, VOC.critique.learning_rate) == (15, 2.5e-4)
    assert (COCO.critique.epochs, COCO.critique.learning_rate) == (8, 5e-4)
    for spec in (VOC, COCO):
        assert spec.classification.momentum == spec.critique.momentum == SLIPPED_MOMENTUM
        assert spec.critique.head_factor == 10
        assert (spec.backbone.stride, spec.critique_views.size) == (16, 512)
        assert (spec.backbone.batch_norm, spec.critique_norm) == ("fixed", "trained")
    weights = [
        (
            spec.losses.object_weight,
            spec.losses.background_weight,
            spec.losses.companion_weight,
            spec.losses.area_weight,
            spec.losses.threshold,
        )
        for spec in (VOC, COCO)
    ]
    assert weights == [(10, 24, 1, 0.2, 0.26), (2, 14, 1.25, 0.2, 0.285)]
    assert [len(spec.background or ()) for spec in (VOC, COCO)] == [10, 88]


def test_no_stride_becomes_a_dilation_and_the_grid_is_a_sixteenth() -> None:
    network = CLIMSNetwork(TINY_BACKBONE, 3, stem="trained")
    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    assert all(each.dilation == (1, 1) for each in convolutions)
    assert network(torch.randn(2, 3, 64, 96)).shape == (2, 3, 4, 6)
    assert network.classifier.bias is None


def test_a_fixed_stem_gets_no_gradient_but_follows_the_statistics() -> None:
    network = CLIMSNetwork(TINY_BACKBONE, 3, stem="fixed").train()
    before = {name: each.clone() for name, each in network.stages.parts[0].named_buffers()}
    network(torch.randn(2, 3, 32, 32)).mean().backward()
    assert all(p.grad is None for p in network.stages.parts[0].parameters())
    assert all(p.grad is not None for p in network.stages.parts[-1].parameters())
    moved = [
        not torch.equal(each, before[name])
        for name, each in network.stages.parts[0].named_buffers()
    ]
    assert all(moved)


def test_parameters_are_counted_by_component() -> None:
    counts = TINY.build(SETTING).parameter_counts()
    assert counts["head"] == {"total": 32 * 3, "trainable": 32 * 3}
    assert counts["image tower"]["trainable"] == counts["text tower"]["trainable"] == 0


@pytest.mark.parametrize("size", [(20, 31), (90, 64), (64, 90)])
def test_views_are_squares_with_zeros_outside(size: tuple[int, int]) -> None:
    image = torch.full((3, *size), 255, dtype=torch.uint8)
    views = CropViews(long_side=(48, 80), size=64)
    generator = np.random.default_rng(0)
    seen = torch.stack([draw_crop(image, views, generator) for _ in range(20)])
    assert seen.shape == (20, 3, 64, 64)
    white = (255 - torch.tensor(MEAN)) / torch.tensor(STD)
    inside = seen[:, 0] != 0
    assert torch.allclose(seen[:, 0][inside], white[0])
    assert inside.any()
    assert not inside.all()


def test_a_small_image_may_lie_anywhere_in_its_view() -> None:
    image = torch.full((3, 16, 16), 255, dtype=torch.uint8)
    views = CropViews(long_side=(16, 16), size=32)
    generator = np.random.default_rng(0)
    tops = {
        int((draw_crop(image, views, generator)[0] != 0).any(dim=1).nonzero()[0]) for _ in range(60)
    }
    assert min(tops) <= 1
    assert max(tops) >= 15


def test_recoloured_is_normalising_by_the_other_numbers() -> None:
    clip = SETTING.clip
    ours = recoloured(normalise_images(IMAGES, MEAN, STD), clip.mean, clip.std)
    assert torch.allclose(ours, normalise_images(IMAGES, clip.mean, clip.std), atol=1e-4)


def test_the_learning_rate_decays_as_published() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.1)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, 10, Descent().power)
    rates = []
    for _ in range(10):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert math.isclose(rates[0], 0.1)
    assert math.isclose(rates[-1], 0.1 * 0.1**0.9)
