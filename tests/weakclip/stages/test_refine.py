from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip.load import load_clip
from weakclip.crf.dense import dense_crf
from weakclip.labels import IGNORE
from weakclip.ops.pamr import pamr
from weakclip.stages.protocols import Setting
from weakclip.stages.refine import (
    CRF,
    MICRO_CRF,
    PAMR,
    BackgroundRule,
    Constant,
    Keep,
    Otsu,
    Power,
    SeedLabels,
    with_background,
)
from weakclip.stages.seeds import OtsuBand, seeds_from

if TYPE_CHECKING:
    from weakclip.stages.protocols import RefinementSpec

SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("dog", "cat", "car"),
    background_words=(),
    device=torch.device("cpu"),
)
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (2, 3, 20, 24), generator=GENERATOR, dtype=torch.uint8)
TAGS = torch.tensor([[True, False, True], [False, True, False]])
CAMS = torch.rand(2, 3, 5, 6, generator=GENERATOR) * TAGS[:, :, None, None]


def test_a_power_of_what_the_strongest_map_leaves() -> None:
    cams = torch.tensor([0.5, 0.1]).view(1, 2, 1, 1)
    scores = with_background(cams, (1, 1), Power(alpha=3)).flatten()
    assert torch.allclose(scores, torch.tensor([0.125, 0.5, 0.1]))


def test_otsu_separates_two_groups_of_each_image_and_its_edges_are_their_means() -> None:
    cams = torch.full((1, 1, 4, 4), 0.1)
    cams[..., 2:] = 0.8
    levels = {
        edge: float(with_background(cams, (4, 4), Otsu(edge=edge))[0, 0, 0, 0])
        for edge in ("weak", "middle", "strong")
    }
    assert 0.1 <= levels["middle"] <= 0.8
    assert levels["weak"] == pytest.approx(0.1, abs=0.01)  # bins of 1/64
    assert levels["strong"] == pytest.approx(0.8, abs=0.01)
    halves = torch.cat([cams, 0.5 * cams])
    both = with_background(halves, (4, 4), Otsu())[:, 0, 0, 0]
    assert float(both[1]) < float(both[0])  # each image has its own


@pytest.mark.parametrize("rule", [Power(), Otsu(), Constant(value=0.3)])
def test_maps_are_resized_and_stay_as_they_are(rule: BackgroundRule) -> None:
    scores = with_background(CAMS, (20, 24), rule)
    assert scores.shape == (2, 4, 20, 24)
    resized = F.interpolate(CAMS, (20, 24), mode="bilinear", align_corners=False)
    assert torch.equal(scores[:, 1:], resized)


def test_the_crf_sees_the_tagged_classes_alone() -> None:
    result = CRF(crf=MICRO_CRF.crf).build(SETTING).scores(IMAGES, TAGS, CAMS)
    assert torch.allclose(result.sum(dim=1), torch.ones(2, 20, 24), atol=1e-5)
    chosen = torch.tensor([0, 1, 3])
    scores = with_background(CAMS[:1], (20, 24), Otsu())[:, chosen]
    alone = dense_crf(IMAGES[:1], scores, MICRO_CRF.crf)
    assert torch.allclose(result[:1, chosen], alone, atol=1e-5)


def test_pamr_of_packed_labels_is_pamr_of_all_labels() -> None:
    spec = PAMR(iterations=3, dilations=(1, 2))
    result = spec.build(SETTING).scores(IMAGES, TAGS, CAMS)
    scores = with_background(CAMS, (20, 24), spec.background)
    expected = pamr(IMAGES, scores, iterations=3, dilations=(1, 2))
    assert torch.allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("spec", [Keep(), CRF(), PAMR()])
def test_nothing_is_learnt(spec: RefinementSpec) -> None:
    assert spec.build(SETTING).parameter_counts() == {}


def test_impossible_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha: expected a positive"):
        Power(alpha=0)
    with pytest.raises(ValueError, match=r"score in \[0, 1\], got 2"):
        Constant(value=2)
    with pytest.raises(ValueError, match="of the same images and classes"):
        Keep().build(SETTING).scores(IMAGES, TAGS[:, :2], CAMS)


def test_seeds_score_one_for_their_label_and_nothing_where_they_are_undecided() -> None:
    scores = SeedLabels().build(SETTING).scores(IMAGES, TAGS, CAMS)
    seeds = seeds_from(CAMS, (20, 24), OtsuBand())
    undecided = seeds == IGNORE
    assert undecided.any()
    assert not scores.sum(dim=1)[undecided].any()
    assert torch.equal(scores.argmax(dim=1)[~undecided], seeds[~undecided])
    assert torch.equal(scores.sum(dim=1)[~undecided], torch.ones(int((~undecided).sum())))
