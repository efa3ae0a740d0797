"""What every pseudo-mask method and every refinement must fulfil.

To add one: a line in `MASKERS` or `REFINEMENTS`, with random weights and the smallest schedule.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from baselines import clims, clip_es
from baselines.confidence import ConfidentCRF
from baselines.crops import ScaledCrops
from baselines.weclip import method as weclip
from baselines.weclip.network import DecoderSize
from weakclip.clip.load import load_clip
from weakclip.convnet import random_walk
from weakclip.convnet.backbone import Backbone
from weakclip.convnet.classifier import CAM, Classifier, GradCAM
from weakclip.dense_attention.methods import MICRO
from weakclip.dense_attention.scores import PresentSoftmax
from weakclip.dense_attention.source import Windows
from weakclip.stages.caa import CAA
from weakclip.stages.protocols import ImageStack, Setting
from weakclip.stages.refine import CRF, PAMR, Constant, Keep, Otsu, Power, SeedLabels
from weakclip.training.descent import Descent, WarmDescent
from weakclip.training.views import Framing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weakclip.stages.protocols import MaskerSpec, PseudoMasker, Refinement, RefinementSpec

TINY = Backbone(
    name="resnet10t", stride=8, weights=None, channels=(8, 8, 8, 8), frozen_stages=0,
    batch_norm="trained",
)  # fmt: skip
SHORT = Descent(epochs=1, batch_size=2, learning_rate=0.01)
CLASSIFIER = Classifier(backbone=TINY, recipe=SHORT, framing=Framing(size=32, ratio=(1, 1.2)))
WECLIP = replace(
    weclip.MICRO,
    decoder=DecoderSize(channels=8, heads=2, blocks=1), crops=ScaledCrops(size=48),
    recipe=WarmDescent(steps=3, batch_size=2, warmup=1),
)  # fmt: skip

MASKERS: dict[str, MaskerSpec] = {
    "cam": CAM(classifier=CLASSIFIER, scales=(1.0, 0.5)),
    "grad-cam": GradCAM(classifier=CLASSIFIER),
    "grad-cam-last": GradCAM(classifier=CLASSIFIER, stage=-1, flip=False),
    **MICRO,
    "maskclip-smooth": replace(MICRO["maskclip"], scores=PresentSoftmax(key_smoothing=1.0)),
    "maskclip-denoise": replace(MICRO["maskclip"], scores=PresentSoftmax(prompt_denoising=0.3)),
    "sclip-windows": replace(MICRO["sclip"], windows=Windows(size=32, stride=16)),
    "surgery-windows": replace(MICRO["clip-surgery"], windows=Windows(size=32, stride=32)),
    "clip-es": clip_es.MICRO,
    "weclip": WECLIP,
    "clims": replace(clims.MICRO, backbone=TINY, classification=SHORT, critique=SHORT),
}
REFINEMENTS: dict[str, RefinementSpec] = {
    "keep": Keep(),
    "keep-power": Keep(background=Power(alpha=4)),
    "keep-constant": Keep(background=Constant(value=0.2)),
    "seeds": SeedLabels(),
    "crf": CRF(),
    "pamr": PAMR(),
    "random-walk": replace(
        random_walk.MICRO,
        backbone=TINY, widths=(4, 4, 4), recipe=SHORT, framing=Framing(size=32, ratio=(1, 1.2)),
        steps=8,
    ),
    "caa": CAA(background=Otsu()),
    "confident-crf": ConfidentCRF(),
    "weclip": WECLIP,
    "weclip-given": replace(WECLIP, initial="given"),
}  # fmt: skip
NETWORKS = ("weclip", "weclip-given")
"""Refinements that, once fitted, label an image without looking at its maps."""

NAMES, WORDS = ("dog", "cat", "sofa", "car"), ("grass", "sky", "wall")
F = len(NAMES)
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (4, 3, 48, 64), generator=GENERATOR, dtype=torch.uint8)
TAGS = torch.tensor(
    [[True, False, False, False], [True, True, False, False], [False, False, True, False],
     [True, True, True, False]]
)  # fmt: skip
CAMS = torch.rand(4, F, 3, 4, generator=GENERATOR) * TAGS[:, :, None, None]
DATA = ImageStack(IMAGES, TAGS)
SIZES = [(50, 70), (33, 47), (16, 16)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def setting() -> Setting:
    return Setting(
        clip=load_clip("random-micro"),
        class_names=NAMES,
        background_words=WORDS,
        device=torch.device("cpu"),
    )


def fitted_masker(name: str, seed: int) -> PseudoMasker:
    method = MASKERS[name].build(setting())
    method.fit(DATA, seed=seed, report=lambda _done, _total: None)
    return method


def fitted_refinement(name: str, seed: int) -> Refinement:
    method = REFINEMENTS[name].build(setting())
    method.fit(DATA, list(CAMS), seed=seed, report=lambda _done, _total: None)
    return method


masker, refinement = cache(fitted_masker), cache(fitted_refinement)  # each is fitted once


def drawn(size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (4, 3, *size), generator=generator, dtype=torch.uint8)


def check_maps(cams: Tensor, image_labels: Tensor) -> None:
    assert cams.shape[:2] == image_labels.shape
    assert cams.ndim == 4
    assert cams.dtype == torch.float32
    assert not cams.requires_grad
    assert bool(torch.isfinite(cams).all())
    assert float(cams.min()) >= 0
    assert float(cams.max()) <= 1
    assert not cams[~image_labels].any()


def check_scores(scores: Tensor, images: Tensor, image_labels: Tensor) -> None:
    batch, classes = image_labels.shape
    assert scores.shape == (batch, 1 + classes, *images.shape[2:])
    assert scores.dtype == torch.float32
    assert not scores.requires_grad
    assert bool(torch.isfinite(scores).all())
    assert float(scores.min()) >= 0
    assert not scores[:, 1:][~image_labels].any()


@pytest.mark.parametrize("name", MASKERS)
class TestMasker:
    def test_maps_are_of_the_tagged_classes_and_in_range(self, name: str) -> None:
        cams = masker(name, 0).cams(IMAGES, TAGS)
        check_maps(cams, TAGS)
        peaks = cams.amax(dim=(2, 3))[TAGS]
        assert float(peaks.max()) > 0.9  # a per-class maximum, where there is any evidence

    def test_an_images_maps_do_not_depend_on_its_batch(self, name: str) -> None:
        together = masker(name, 0).cams(IMAGES, TAGS)
        order = torch.tensor([2, 0, 3, 1])
        assert torch.allclose(masker(name, 0).cams(IMAGES[order], TAGS[order]), together[order])
        alone = masker(name, 0).cams(IMAGES[1:2], TAGS[1:2])
        assert torch.allclose(alone, together[1:2], atol=1e-3)

    def test_one_seed_gives_one_result(self, name: str) -> None:
        again = fitted_masker(name, 0)
        assert torch.equal(again.cams(IMAGES, TAGS), masker(name, 0).cams(IMAGES, TAGS))

    def test_fitting_leaves_the_global_generator_alone(self, name: str) -> None:
        method = MASKERS[name].build(setting())
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        method.fit(DATA, seed=0, report=lambda _done, _total: None)
        assert torch.equal(torch.rand(1), expected)

    @pytest.mark.parametrize("size", SIZES)
    def test_sizes_need_not_be_multiples_of_anything(
        self, name: str, size: tuple[int, int]
    ) -> None:
        check_maps(masker(name, 0).cams(drawn(size), TAGS), TAGS)

    def test_images_smaller_than_a_patch_give_maps_or_a_clear_error(self, name: str) -> None:
        images = drawn((9, 12))
        try:
            cams = masker(name, 0).cams(images, TAGS)
        except ValueError as error:
            assert "9 x 12" in str(error)  # noqa: PT017 (either is allowed)
        else:
            check_maps(cams, TAGS)

    def test_an_image_without_tags_has_no_maps(self, name: str) -> None:
        none = torch.zeros_like(TAGS)
        assert not masker(name, 0).cams(IMAGES, none).any()

    def test_a_grey_image_gives_finite_maps(self, name: str) -> None:
        grey = torch.full_like(IMAGES, 128)
        check_maps(masker(name, 0).cams(grey, TAGS), TAGS)

    def test_parameters_are_counted(self, name: str) -> None:
        counts = masker(name, 0).parameter_counts()
        assert all(0 <= c["trainable"] <= c["total"] for c in counts.values())
        assert sum(c["total"] for c in counts.values()) > 0

    def test_tags_of_other_classes_are_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="expected"):
            masker(name, 0).cams(IMAGES, TAGS[:, :-1])


@pytest.mark.parametrize("name", REFINEMENTS)
class TestRefinement:
    def test_scores_are_of_the_tagged_classes_and_not_negative(self, name: str) -> None:
        check_scores(refinement(name, 0).scores(IMAGES, TAGS, CAMS), IMAGES, TAGS)

    def test_an_images_scores_do_not_depend_on_its_batch(self, name: str) -> None:
        method = refinement(name, 0)
        together = method.scores(IMAGES, TAGS, CAMS)
        order = torch.tensor([2, 0, 3, 1])
        mixed = method.scores(IMAGES[order], TAGS[order], CAMS[order])
        assert torch.allclose(mixed, together[order], atol=1e-5)
        alone = method.scores(IMAGES[1:2], TAGS[1:2], CAMS[1:2])
        assert torch.allclose(alone, together[1:2], atol=1e-4)

    def test_one_seed_gives_one_result(self, name: str) -> None:
        again = fitted_refinement(name, 0).scores(IMAGES, TAGS, CAMS)
        assert torch.equal(again, refinement(name, 0).scores(IMAGES, TAGS, CAMS))

    @pytest.mark.parametrize("size", SIZES)
    def test_sizes_need_not_be_multiples_of_anything(
        self, name: str, size: tuple[int, int]
    ) -> None:
        images = drawn(size)
        check_scores(refinement(name, 0).scores(images, TAGS, CAMS), images, TAGS)

    def test_an_image_without_evidence_is_background_unless_a_network_decides(
        self, name: str
    ) -> None:
        scores = refinement(name, 0).scores(IMAGES, TAGS, torch.zeros_like(CAMS))
        check_scores(scores, IMAGES, TAGS)
        if name in NETWORKS:
            assert torch.equal(scores, refinement(name, 0).scores(IMAGES, TAGS, CAMS))
        else:
            assert not scores.argmax(dim=1).any()

    def test_maps_of_other_images_are_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="expected"):
            refinement(name, 0).scores(IMAGES, TAGS, CAMS[1:])

    def test_parameters_are_counted(self, name: str) -> None:
        counts = refinement(name, 0).parameter_counts()
        assert all(0 <= c["trainable"] <= c["total"] for c in counts.values())


@pytest.mark.parametrize("name", ["cam", "grad-cam", "clims", "random-walk", "weclip-given"])
def test_another_seed_gives_another_result(name: str) -> None:
    if name in MASKERS:
        first, second = (masker(name, seed).cams(IMAGES, TAGS) for seed in (0, 1))
    else:
        first, second = (refinement(name, seed).scores(IMAGES, TAGS, CAMS) for seed in (0, 1))
    assert not torch.equal(first, second)
