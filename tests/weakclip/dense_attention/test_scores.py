"""Similarities and maps against loops, and what must hold for each kind of scores."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.dense_attention.scores import (
    FeatureSurgery,
    MinMax,
    PresentSoftmax,
    Scores,
    Similarities,
    activation_maps,
    best_name,
    class_chances,
    denoise,
    enriched,
    similarities,
    smooth,
)

GENERATOR = torch.Generator().manual_seed(0)
TAGS = torch.tensor([[True, False, True], [True, False, False]])
ALLOWED = F.pad(TAGS, (0, 2), value=True)
OWNER = torch.arange(3)
IMAGE = torch.randn(2, 16, generator=GENERATOR)
DENSE = torch.randn(2, 16, 4, 6, generator=GENERATOR)
TEXTS = F.normalize(torch.randn(5, 16, generator=GENERATOR), dim=1)
LOGITS = 3 * torch.randn(2, 5, 4, 6, generator=GENERATOR)
KEYS = torch.randn(2, 24, 8, generator=GENERATOR)
KINDS: dict[str, Scores] = {
    "softmax": PresentSoftmax(scale=10),
    "min-max": MinMax(),
    "surgery": FeatureSurgery(),
    "mean surgery": FeatureSurgery(redundancy="mean"),
    "excel": FeatureSurgery(texts="all", norm="tokens", extremes="tokens"),
}


def maps(scores: Scores, tags: torch.Tensor = TAGS) -> torch.Tensor:
    allowed = F.pad(tags, (0, 2), value=True)
    found = similarities(scores, IMAGE, DENSE, TEXTS, allowed)
    return activation_maps(scores, found, tags, OWNER, logit_scale=100.0)


@pytest.mark.parametrize("name", KINDS)
def test_maps_are_of_the_tags_alone_and_reach_one(name: str) -> None:
    cams = maps(KINDS[name])
    assert not cams[~TAGS].any()
    peaks = cams.amax(dim=(2, 3))[TAGS]
    assert float(cams.min()) >= 0
    if name != "excel":  # there the image itself may have the largest value
        torch.testing.assert_close(peaks, torch.ones(3))


@pytest.mark.parametrize("name", ["softmax", "min-max", "surgery", "mean surgery"])
def test_classes_that_are_not_tagged_have_no_say(name: str) -> None:
    other = TEXTS.clone()
    other[1] = -other[1]  # no image has this tag
    found = similarities(KINDS[name], IMAGE, DENSE, other, ALLOWED)
    cams = activation_maps(KINDS[name], found, TAGS, OWNER, logit_scale=100.0)
    torch.testing.assert_close(cams, maps(KINDS[name]))


def test_all_classes_have_a_say_in_excels_redundancy() -> None:
    other = TEXTS.clone()
    other[1] = -other[1]
    found = similarities(KINDS["excel"], IMAGE, DENSE, other, ALLOWED)
    cams = activation_maps(KINDS["excel"], found, TAGS, OWNER, logit_scale=100.0)
    assert not torch.allclose(cams, maps(KINDS["excel"]), atol=1e-3)


def test_the_scale_of_a_softmax_is_clips_own_unless_it_is_given() -> None:
    found = similarities(PresentSoftmax(), IMAGE, DENSE, TEXTS, ALLOWED)
    own = activation_maps(PresentSoftmax(), found, TAGS, OWNER, logit_scale=10.0)
    torch.testing.assert_close(own, maps(PresentSoftmax(scale=10)))
    assert not torch.allclose(own, maps(PresentSoftmax(scale=40)), atol=1e-2)


def test_a_map_is_stretched_by_the_image_as_well_where_that_is_asked_for() -> None:
    found = Similarities(
        image=torch.tensor([[3.0, 0.0, 0.0]]),
        patches=torch.tensor([[[[1.0, 2.0]], [[0.0, 0.0]], [[0.0, 0.0]]]]),
    )
    tags = torch.tensor([[True, False, False]])
    ends = {"patches": [0.0, 1.0], "tokens": [0.0, 0.5]}
    for extremes in ("patches", "tokens"):
        scores = FeatureSurgery(extremes=extremes)
        cams = activation_maps(scores, found, tags, OWNER, logit_scale=1.0)
        assert cams[0, 0, 0].tolist() == pytest.approx(ends[extremes], abs=1e-6)


@pytest.mark.parametrize("redundancy", ["weighted", "mean"])
@pytest.mark.parametrize("texts", ["tagged", "all"])
def test_feature_surgery_is_what_products_of_features_say(redundancy: str, texts: str) -> None:
    scores = FeatureSurgery(redundancy=redundancy, texts=texts)  # type: ignore[arg-type]
    found = similarities(scores, IMAGE, DENSE, TEXTS, ALLOWED)
    for image in range(2):
        chosen = list(range(5)) if texts == "all" else ALLOWED[image].nonzero().flatten().tolist()
        tokens = torch.cat([IMAGE[image][None], DENSE[image].flatten(1).T])
        unit = F.normalize(tokens, dim=1)
        weights = torch.ones(len(chosen))
        if redundancy == "weighted":
            chances = (2 * unit[0] @ TEXTS[chosen].T).softmax(dim=0)
            weights = chances / chances.mean()
        products = unit[:, None] * TEXTS[chosen] * weights[:, None]  # (1 + hw, T, E)
        expected = (products - products.mean(dim=1, keepdim=True)).sum(dim=2)
        torch.testing.assert_close(found.image[image, chosen], expected[0])
        torch.testing.assert_close(found.patches[image, chosen].flatten(1), expected[1:].T)
        torch.testing.assert_close(found.patches[image].sum(dim=0), torch.zeros(4, 6))


def test_surgery_takes_the_same_from_every_text_of_a_patch() -> None:
    unit = F.normalize(DENSE, dim=1)
    cosine = torch.einsum("bdhw,kd->bkhw", unit, TEXTS)
    image = F.normalize(IMAGE, dim=1) @ TEXTS.T
    weighted = cosine * (2 * image).softmax(dim=1)[:, :, None, None]
    found = similarities(FeatureSurgery(texts="all"), IMAGE, DENSE, TEXTS, ALLOWED)
    assert torch.equal(found.patches.argmax(dim=1), weighted.argmax(dim=1))


def test_what_all_texts_share_is_without_effect_if_the_mean_is_taken_away() -> None:
    moved = TEXTS + torch.randn(16, generator=GENERATOR)
    for redundancy, same in (("mean", True), ("weighted", False)):
        scores = FeatureSurgery(redundancy=redundancy, texts="all")  # type: ignore[arg-type]
        before, after = (
            similarities(scores, IMAGE, DENSE, texts, ALLOWED).patches for texts in (TEXTS, moved)
        )
        assert torch.allclose(before, after, atol=1e-5) == same


def test_the_best_of_several_names_counts_after_the_softmax() -> None:
    owner = torch.tensor([0, 0, 1])
    tags = torch.tensor([[True, False], [True, True]])
    chances = class_chances(LOGITS, tags, owner)
    all_names = LOGITS[1].softmax(dim=0)
    torch.testing.assert_close(chances[1, 0], all_names[:2].amax(dim=0))
    torch.testing.assert_close(chances[1, 1], all_names[2])
    without = LOGITS[0, [0, 1, 3, 4]].softmax(dim=0)
    torch.testing.assert_close(chances[0, 0], without[:2].amax(dim=0))
    assert not chances[0, 1].any()
    assert torch.equal(best_name(LOGITS[:, :3], torch.arange(3), 3), LOGITS[:, :3])


def test_denoising_only_removes_names_that_win_nowhere() -> None:
    logits = LOGITS.clone()
    logits[0, 0] = -20  # never probable
    logits[0, 2, 1, 1] = 30  # wins once
    result = denoise(logits, TAGS, 0.5)
    assert bool(torch.isneginf(result[0, 0]).all())
    assert torch.equal(result[0, 2:], logits[0, 2:])
    kept = TAGS.nonzero()
    unchanged = denoise(logits, TAGS, 0.0)
    assert torch.equal(unchanged[kept[:, 0], kept[:, 1]], logits[kept[:, 0], kept[:, 1]])


def test_smoothing_with_orthogonal_keys_changes_nothing_and_spares_sure_patches() -> None:
    chances = LOGITS.softmax(dim=1)[:, :3]
    orthogonal = torch.eye(24).expand(2, -1, -1)
    assert torch.allclose(smooth(chances, orthogonal, 1.0), chances, atol=1e-6)
    sure = chances.amax(dim=1) >= 0.6
    assert 0 < int(sure.sum()) < sure.numel()
    mixed = smooth(chances, KEYS, 0.6)
    assert torch.equal(mixed.permute(0, 2, 3, 1)[sure], chances.permute(0, 2, 3, 1)[sure])
    unit = F.normalize(KEYS[0], dim=1)
    expected = (unit[5] @ unit.T) @ chances[0, 1].flatten()
    assert float(smooth(chances, KEYS, 1.0)[0, 1].flatten()[5]) == pytest.approx(
        float(expected), abs=1e-5
    )


def test_smoothing_without_keys_is_refused() -> None:
    scores = PresentSoftmax(key_smoothing=1.0)
    found = similarities(scores, IMAGE, DENSE, TEXTS, ALLOWED)
    with pytest.raises(ValueError, match="expected keys of the patches, got none"):
        activation_maps(scores, found, TAGS, OWNER, logit_scale=1.0)


def test_enriched_texts_leave_the_least_similar_centres_out() -> None:
    centres = 3 * torch.randn(10, 16, generator=GENERATOR)
    found = enriched(TEXTS, centres, share=0.8)
    for text, better in zip(TEXTS, found, strict=True):
        logits = centres @ text
        kept = logits.argsort()[2:]  # 8 of 10
        moved = text + logits[kept].softmax(dim=0) @ centres[kept]
        torch.testing.assert_close(better, moved / moved.norm())
