from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines.maskclip import MICRO, MaskCLIP, denoise, ensemble, smooth
from weakclip.clip.load import load_clip
from weakclip.stages.protocols import Setting
from weakclip.training.views import normalise_images

CLIP = load_clip("random-micro")
NAMES, WORDS = ("dog", "cat", "sofa"), ("grass", "sky")
SETTING = Setting(clip=CLIP, class_names=NAMES, background_words=WORDS, device=torch.device("cpu"))
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (2, 3, 64, 96), generator=GENERATOR, dtype=torch.uint8)
TAGS = torch.tensor([[True, False, True], [True, False, False]])
LOGITS = 3 * torch.randn(2, 5, 4, 6, generator=GENERATOR)
KEYS = torch.randn(2, 24, 8, generator=GENERATOR)


def test_maps_are_the_softmax_of_value_path_patches_over_tags_and_background() -> None:
    texts = ensemble(CLIP, (*NAMES, *WORDS), MICRO.templates)
    trace = CLIP.image.forward_tokens(normalise_images(IMAGES, CLIP.mean, CLIP.std))
    _, dense = CLIP.image.read_out(CLIP.image.value_path(trace.tokens[-2]), trace.grid)
    chosen = texts[[0, 2, 3, 4]]  # image 0 is tagged with classes 0 and 2
    patches = F.normalize(dense[0].flatten(1).T, dim=1)
    chances = (CLIP.logit_scale * patches @ chosen.T).softmax(dim=1)[:, :2].T
    low, high = chances.amin(1, keepdim=True), chances.amax(1, keepdim=True)
    cams = MICRO.build(SETTING).cams(IMAGES, TAGS)
    expected = ((chances - low) / (high - low)).view(2, 4, 6)
    assert torch.allclose(cams[0, [0, 2]], expected, atol=1e-3)


def test_the_value_path_is_the_block_whose_tokens_attend_to_themselves() -> None:
    one_patch = torch.randn(1, 3, 16, 16, generator=GENERATOR)
    tokens = CLIP.image.forward_tokens(one_patch).tokens[-2][:, 1:]  # one token: attention is 1
    attended = CLIP.image.last_block(tokens)
    assert torch.allclose(CLIP.image.value_path(tokens), attended, atol=1e-5)


def test_an_ensemble_of_one_sentence_is_that_sentence_and_of_more_their_mean() -> None:
    first, second = "a photo of a {}.", "a {}"
    singles = [ensemble(CLIP, NAMES, (template,)) for template in (first, second)]
    both = ensemble(CLIP, NAMES, (first, second))
    assert torch.allclose(both, F.normalize(singles[0] + singles[1], dim=1), atol=1e-6)
    assert torch.allclose(both.norm(dim=1), torch.ones(3), atol=1e-6)


def test_denoising_only_removes_classes_that_win_nowhere() -> None:
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


@pytest.mark.parametrize(
    ("short_side", "size", "grid"),
    [(None, (64, 96), (4, 6)), (128, (64, 96), (8, 12)), (None, (10, 41), (1, 3))],
)
def test_images_are_resized_to_whole_patches(
    short_side: int | None, size: tuple[int, int], grid: tuple[int, int]
) -> None:
    images = IMAGES[..., : size[0], : size[1]]
    cams = replace(MICRO, short_side=short_side).build(SETTING).cams(images, TAGS)
    assert cams.shape[2:] == grid


def test_unusable_choices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sentences with one '\{\}' each"):
        MaskCLIP(templates=("a photo",))
    with pytest.raises(ValueError, match="short_side: expected 1"):
        MaskCLIP(short_side=0)
