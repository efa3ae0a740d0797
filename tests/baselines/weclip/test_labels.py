from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from baselines import clip_es
from baselines.weclip.labels import (
    LearntMaps,
    PseudoLabels,
    Selection,
    chosen_blocks,
    learnt_attention,
    pseudo_scores,
)
from weakclip.clip.load import load_clip
from weakclip.stages.protocols import Setting

torch.set_num_threads(1)
GENERATOR = torch.Generator().manual_seed(0)
SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("dog", "cat", "sofa"),
    background_words=("grass", "sky"),
    device=torch.device("cpu"),
)
NORMAL = torch.randn(2, 3, 64, 80, generator=GENERATOR)
TAGS = torch.tensor([[True, False, True], [False, True, False]])
TRACE_GRID = (4, 5)


def attention(batch: int = 2, blocks: int = 4, patches: int = 6) -> Tensor:
    """Of the patches, with a class token whose share differs between blocks and images."""
    logits = 3 * torch.randn(batch, blocks, patches + 1, patches + 1, generator=GENERATOR)
    return logits.softmax(dim=3)[:, :, 1:, 1:]


def learnt(patches: int = 6) -> Tensor:
    field = torch.randn(2, 3, patches, generator=GENERATOR)
    return (field.transpose(1, 2) @ field).sigmoid()


def maps() -> LearntMaps:
    return LearntMaps(clip_es.MICRO.build(SETTING), Selection())


def test_the_release_chooses_blocks_whatever_the_affinity_is() -> None:
    blocks = attention()
    totals = blocks.sum(dim=(2, 3))
    expected = totals >= totals.mean(dim=1, keepdim=True)
    for affinity in (learnt(), torch.zeros(2, 6, 6), 100 * torch.randn(2, 6, 6)):
        assert torch.equal(chosen_blocks(blocks, affinity, "release")[1], expected)


def test_the_paper_chooses_blocks_that_are_close_to_the_affinity() -> None:
    blocks = attention()
    affinity = torch.stack([blocks[0, 2], blocks[1, 0]])
    difference, chosen = chosen_blocks(blocks, affinity, "paper")
    expected = (affinity[:, None] - blocks).abs().sum(dim=(2, 3), dtype=torch.float64)
    torch.testing.assert_close(difference, expected)
    assert torch.equal(chosen, expected < expected.mean(dim=1, keepdim=True))
    assert bool(chosen[0, 2])
    assert bool(chosen[1, 0])


@pytest.mark.parametrize("rule", ["release", "paper"])
def test_equal_blocks_are_all_chosen(rule: str) -> None:
    blocks = attention(blocks=1).expand(-1, 3, -1, -1)
    assert bool(chosen_blocks(blocks, learnt(), rule)[1].all())  # type: ignore[arg-type]


def test_the_mean_of_the_chosen_blocks_is_multiplied_by_the_affinity() -> None:
    blocks, affinity = attention(), learnt()
    result = learnt_attention(blocks, affinity, "release")
    for image in range(2):
        chosen = chosen_blocks(blocks, affinity, "release")[1][image]
        expected = affinity[image] * blocks[image, chosen].mean(dim=0)
        torch.testing.assert_close(result[image], expected, rtol=1e-4, atol=1e-6)


def test_labels_are_the_background_and_the_tags() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 40), generator=GENERATOR, dtype=torch.uint8)
    some = torch.rand(2, 3, 4, 5, generator=GENERATOR) * TAGS[:, :, None, None]
    scores = pseudo_scores(images, TAGS, some, PseudoLabels(iterations=2, dilations=(1, 2)))
    assert scores.shape == (2, 4, 32, 40)
    assert not scores[:, 1:][~TAGS].any()
    labels = scores.argmax(dim=1)
    assert set(labels[0].flatten().tolist()) <= {0, 1, 3}
    assert set(labels[1].flatten().tolist()) <= {0, 2}
    swapped = pseudo_scores(
        images, TAGS.flip(1), some.flip(1), PseudoLabels(iterations=2, dilations=(1, 2))
    )
    torch.testing.assert_close(swapped[:, 1:].flip(1), scores[:, 1:])
    unrefined = pseudo_scores(images, TAGS, some, PseudoLabels(iterations=0))
    strongest = unrefined[:, 1:].amax(dim=1)
    torch.testing.assert_close(unrefined[:, 0], 1 - strongest)


def test_before_an_affinity_is_learnt_the_maps_are_those_of_clip_es() -> None:
    ours = maps()
    masker = clip_es.MICRO.build(SETTING)
    images = torch.randint(0, 256, (2, 3, 64, 80), generator=GENERATOR, dtype=torch.uint8)
    normal = (images.float() - torch.tensor(ours.clip.mean).view(3, 1, 1)) / torch.tensor(
        ours.clip.std
    ).view(3, 1, 1)
    refined = ours.refined(ours.trace(normal), TAGS, None)
    torch.testing.assert_close(refined, masker.cams(images, TAGS), atol=1e-4, rtol=0)


def test_maps_are_spread_along_the_affinity_without_gradients() -> None:
    ours = maps()
    trace = ours.trace(NORMAL)
    affinity = learnt(20).requires_grad_()
    refined = ours.refined(trace, TAGS, affinity)
    assert refined.shape == (2, 3, *TRACE_GRID)
    assert not refined.requires_grad
    assert not refined[~TAGS].any()
    assert not torch.allclose(refined, ours.refined(trace, TAGS, None), atol=1e-3)


def test_what_is_left_of_a_map_in_a_view_keeps_its_height() -> None:
    ours = maps()
    start = torch.rand(2, 3, *TRACE_GRID, generator=GENERATOR)
    start[0, 2] *= 0.05  # hardly anything of the object is in the view
    refined = ours.refined(ours.trace(NORMAL), TAGS, None, start=start)
    heights = (each.amax(dim=(2, 3))[TAGS] for each in (refined, start))
    torch.testing.assert_close(*heights, rtol=0.02, atol=0)


def test_maps_without_an_affinity_are_refused() -> None:
    source = replace(clip_es.MICRO.source, affinity=None)
    start = replace(clip_es.MICRO, source=source).build(SETTING)
    with pytest.raises(ValueError, match="expected an affinity"):
        LearntMaps(start, Selection())
