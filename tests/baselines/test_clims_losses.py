from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines.clims_losses import (
    CLIMSLosses,
    CLIMSTerms,
    background_loss,
    clims_terms,
    companion_loss,
    masked_images,
    object_loss,
)
from weakclip.stages.seeds import TextBank

SIZE = 6
GENERATOR = torch.Generator().manual_seed(0)
TEXTS = TextBank(
    F.normalize(torch.rand(4, 8, generator=GENERATOR), dim=1),
    F.normalize(torch.rand(5, 8, generator=GENERATOR), dim=1),
)
CAMS = torch.rand(3, 4, 5, 5, generator=GENERATOR)
IMAGES = torch.randn(3, 3, 9, 9, generator=GENERATOR)
LABELS = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 0], [1, 1, 0, 1]]).bool()
WEIGHT = torch.rand(3 * SIZE * SIZE, 8, generator=GENERATOR)


def embed(images: torch.Tensor) -> torch.Tensor:
    """A critic of positive cosines."""
    return (images.flatten(1) @ WEIGHT).abs() + 0.1


def terms(
    cams: torch.Tensor, labels: torch.Tensor = LABELS, images: torch.Tensor = IMAGES
) -> CLIMSTerms:
    return clims_terms(
        cams, images, labels, embed=embed, texts=TEXTS, size=SIZE, losses=CLIMSLosses()
    )


def test_the_two_pictures_add_up_to_the_image() -> None:
    pairs = LABELS.nonzero()
    through, back = masked_images(CAMS, IMAGES, pairs, size=SIZE)
    small = F.interpolate(IMAGES, (SIZE, SIZE), mode="bilinear", align_corners=True)
    assert torch.allclose(through + back, small[pairs[:, 0]], atol=1e-6)
    assert not masked_images(torch.ones_like(CAMS), IMAGES, pairs, size=SIZE)[1].any()
    assert not masked_images(torch.zeros_like(CAMS), IMAGES, pairs, size=SIZE)[0].any()


def test_pairs_are_of_their_own_image_and_class() -> None:
    through, _ = masked_images(CAMS, IMAGES, LABELS.nonzero(), size=SIZE)
    assert len(through) == 4
    for row, (image, label) in enumerate([(1, 2), (2, 0), (2, 1), (2, 3)]):
        alone, _ = masked_images(
            CAMS[image : image + 1], IMAGES[image : image + 1], torch.tensor([[0, label]]),
            size=SIZE,
        )  # fmt: skip
        assert torch.equal(through[row], alone[0])


def test_similarities_are_with_the_pairs_own_text() -> None:
    ours = terms(CAMS)
    through, back = masked_images(CAMS, IMAGES, LABELS.nonzero(), size=SIZE)
    for row, label in enumerate([2, 0, 1, 3]):
        for pictures, similarity in (
            (through, ours.foreground_similarity),
            (back, ours.background_similarity),
        ):
            expected = F.cosine_similarity(embed(pictures)[row], TEXTS.foreground[label], dim=0)
            assert float(similarity[row]) == pytest.approx(float(expected), abs=1e-6)


def test_losses_at_a_quarter() -> None:
    quarter = torch.full((3,), 0.25)
    assert float(object_loss(quarter)) == pytest.approx(1.38629, abs=1e-5)
    assert float(background_loss(quarter)) == pytest.approx(0.28768, abs=1e-5)
    total = float(companion_loss(quarter[:, None], threshold=0.2))
    assert total == pytest.approx(3 * 0.28768, abs=1e-4)


@pytest.mark.parametrize("similarity", [-1.0, 0.0, 1.0])
def test_extreme_similarities_have_finite_losses(similarity: float) -> None:
    values = torch.full((2,), similarity, requires_grad=True)
    total = object_loss(values) + background_loss(values)
    total = total + companion_loss(values[:, None], threshold=0.2)
    total.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(total)
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


def test_gradients_reach_only_the_maps_they_are_about() -> None:
    cams = CAMS.clone().requires_grad_()
    ours = terms(cams)
    for value in (ours.object_match, ours.background_match, ours.companions):
        (gradient,) = torch.autograd.grad(value, cams, retain_graph=True)
        assert not gradient[~LABELS].any()
        assert gradient[LABELS].flatten(1).any(dim=1).all()
    (gradient,) = torch.autograd.grad(ours.area, cams)
    assert torch.allclose(gradient, torch.full_like(gradient, 1 / cams.numel()))


def test_companions_below_the_threshold_cost_nothing() -> None:
    similarity = torch.tensor([[0.1, 0.3], [0.2, 0.25]])
    assert float(companion_loss(similarity, threshold=0.3)) == 0
    expected = -torch.log(torch.tensor([0.7, 0.75])).sum()
    assert torch.allclose(companion_loss(similarity, threshold=0.2), expected)
    mean = companion_loss(similarity, threshold=0.2, reduction="mean")
    assert torch.allclose(mean, expected / 2)


def test_twice_the_batch_doubles_the_companions_loss_and_no_other() -> None:
    once = terms(CAMS)
    twice = terms(CAMS.repeat(2, 1, 1, 1), LABELS.repeat(2, 1), IMAGES.repeat(2, 1, 1, 1))
    assert float(once.companions) > 0
    assert torch.allclose(twice.companions, 2 * once.companions)
    for name in ("object_match", "background_match", "area"):
        assert torch.allclose(getattr(twice, name), getattr(once, name))


def test_a_batch_without_tags_has_only_an_area() -> None:
    cams = CAMS.clone().requires_grad_()
    ours = terms(cams, torch.zeros_like(LABELS))
    for loss in (ours.object_match, ours.background_match, ours.companions):
        assert float(loss) == 0
    CLIMSLosses().total(ours).backward()  # type: ignore[no-untyped-call]
    assert cams.grad is not None
    assert torch.isfinite(cams.grad).all()


def test_a_batch_with_one_tag_is_like_any_other() -> None:
    ours = terms(CAMS[1:2], LABELS[1:2], IMAGES[1:2])
    assert ours.foreground_similarity.shape == (1,)
    assert torch.isfinite(CLIMSLosses().total(ours))


def test_the_total_is_the_weighted_sum() -> None:
    ours = terms(CAMS)
    expected = (
        10 * ours.object_match + 24 * ours.background_match + ours.companions + 0.2 * ours.area
    )
    assert torch.allclose(CLIMSLosses().total(ours), expected)
