from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from weakclip.clip.tower import ImageTower, concatenate, default_taps

if TYPE_CHECKING:
    from torch import Tensor

    from tests.weakclip.conftest import ClipFactory


@pytest.mark.parametrize("pool", ["tok", "avg"])
@pytest.mark.parametrize("final_norm_after_pool", [False, True])
def test_global_embedding_is_open_clips_own_at_native_size(
    make_open_clip: ClipFactory, pool: str, final_norm_after_pool: bool
) -> None:
    clip = make_open_clip(pool=pool, final_norm_after_pool=final_norm_after_pool)
    images = torch.randn(2, 3, 32, 32)
    expected = clip.encode_image(images).detach()
    features = ImageTower(clip.visual)(images)
    torch.testing.assert_close(features.global_embedding, expected, atol=1e-5, rtol=1e-4)


def test_taps_are_open_clips_intermediates(make_open_clip: ClipFactory) -> None:
    clip = make_open_clip()
    images = torch.randn(2, 3, 32, 32)
    expected = clip.visual.forward_intermediates(images, indices=[0, 1, 2, 3])
    features = ImageTower(clip.visual, taps=(0, 1, 2, 3))(images)
    for tap, intermediate in zip(features.taps, expected["image_intermediates"], strict=True):
        torch.testing.assert_close(tap, intermediate.detach(), atol=1e-5, rtol=1e-4)
        assert tap.is_contiguous()


def test_features_have_the_grid_of_the_image_and_no_gradient(
    make_open_clip: ClipFactory, images: Tensor
) -> None:
    features = ImageTower(make_open_clip().visual)(images.requires_grad_())
    assert [tuple(tap.shape) for tap in features.taps] == [(2, 32, 4, 6)] * 4
    assert features.global_embedding.shape == (2, 16)
    assert features.dense_embedding.shape == (2, 16, 4, 6)
    assert not any(
        tensor.requires_grad
        for tensor in (*features.taps, features.global_embedding, features.dense_embedding)
    )


def test_dense_embedding_of_a_token_pooled_tower_is_in_the_space_of_the_global_one(
    make_open_clip: ClipFactory,
) -> None:
    # Average pooling commutes with the projection, so the mean of the dense map is the global.
    features = ImageTower(make_open_clip(pool="avg").visual)(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(features.dense_embedding.mean(dim=(2, 3)), features.global_embedding)


def test_a_side_that_is_no_multiple_of_the_patch_is_cut(
    make_open_clip: ClipFactory, images: Tensor
) -> None:
    tower = ImageTower(make_open_clip().visual)
    padded = torch.nn.functional.pad(images, (0, 7, 0, 3), value=9.0)
    torch.testing.assert_close(tower(padded).dense_embedding, tower(images).dense_embedding)


def test_release_adds_the_class_embedding_again(make_open_clip: ClipFactory) -> None:
    vision = make_open_clip().visual
    images = torch.randn(1, 3, 32, 32)
    plain, _ = ImageTower(vision).embed(images)
    vision.ln_pre = torch.nn.Identity()
    before, _ = ImageTower(vision).embed(images)
    after, _ = ImageTower(vision, class_token="release").embed(images)
    torch.testing.assert_close(after[:, 0] - before[:, 0], vision.class_embedding[None])
    torch.testing.assert_close(after[:, 1:], before[:, 1:])
    assert plain.shape == before.shape


def test_towers_are_frozen_and_stay_in_evaluation_mode(make_open_clip: ClipFactory) -> None:
    tower = ImageTower(make_open_clip().visual).train()
    assert tower.training
    assert not any(module.training for module in tower.vision.modules())
    assert not any(parameter.requires_grad for parameter in tower.parameters())


def test_drop_path_acts_in_training_only(make_open_clip: ClipFactory, images: Tensor) -> None:
    vision = make_open_clip().visual
    steady = ImageTower(vision)
    dropping = steady.configured(taps=(0, 1, 2, 3), class_token="clip", drop_path=0.9)
    expected = steady(images).global_embedding
    torch.testing.assert_close(dropping.eval()(images).global_embedding, expected)
    torch.manual_seed(0)
    dropped = dropping.train()(images)
    assert not torch.allclose(dropped.global_embedding, expected)
    torch.testing.assert_close(steady.train()(images).global_embedding, expected)
    # The first block is never dropped: rates grow linearly from 0.
    torch.testing.assert_close(dropped.taps[0], steady(images).taps[0])


def test_trace_holds_every_state_and_attention_rows_sum_to_one(
    make_open_clip: ClipFactory, images: Tensor
) -> None:
    tower = ImageTower(make_open_clip().visual)
    trace = tower.forward_tokens(images, attention_blocks=3)
    assert trace.grid == (4, 6)
    assert [tuple(tokens.shape) for tokens in trace.tokens] == [(2, 25, 32)] * 5
    assert trace.attention is not None
    torch.testing.assert_close(trace.attention.sum(-1), torch.ones(2, 25))
    without = tower.forward_tokens(images)
    assert without.attention is None
    torch.testing.assert_close(without.tokens[-1], trace.tokens[-1], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match=r"expected 0 to 4.*got 5"):
        tower.forward_tokens(images, attention_blocks=5)


def test_attention_is_that_of_each_of_the_last_blocks_or_their_mean(
    make_open_clip: ClipFactory, images: Tensor
) -> None:
    tower = ImageTower(make_open_clip().visual)
    tokens = tower.forward_tokens(images).tokens
    layers = []
    for block, states in zip(tower.vision.transformer.resblocks, tokens, strict=False):
        normed = block.ln_1(states)
        layers.append(block.attn(normed, normed, normed, need_weights=True)[1])
    for count in (1, 3, 4):
        found = tower.forward_tokens(images, attention_blocks=count).attention
        torch.testing.assert_close(found, torch.stack(layers[-count:]).mean(dim=0))
        each = tower.forward_tokens(images, attention_blocks=count, keep="each").attention
        torch.testing.assert_close(each, torch.stack(layers[-count:], dim=1))
    assert tower.forward_tokens(images, keep="each").attention is None


def test_last_block_continues_the_trace(make_open_clip: ClipFactory, images: Tensor) -> None:
    tower = ImageTower(make_open_clip().visual)
    trace = tower.forward_tokens(images)
    tokens = tower.last_block(trace.tokens[-2])
    torch.testing.assert_close(tokens, trace.tokens[-1], atol=1e-5, rtol=1e-4)


def test_last_block_is_differentiable_at_its_input_and_at_its_norm(
    make_open_clip: ClipFactory, images: Tensor
) -> None:
    tower = ImageTower(make_open_clip(pool="avg").visual)
    trace = tower.forward_tokens(images)
    tokens = trace.tokens[-2].clone().requires_grad_()
    output = tower.last_block(tokens)
    (at_input,) = torch.autograd.grad(tower.read_out(output, trace.grid)[0].sum(), tokens)
    normed = tower.last_norm(trace.tokens[-2]).requires_grad_()
    output = tower.last_block(trace.tokens[-2], normed)
    (at_norm,) = torch.autograd.grad(tower.read_out(output, trace.grid)[0].sum(), normed)
    assert at_input.abs().sum() > 0
    assert at_norm.abs().sum() > 0
    assert not torch.allclose(at_input, at_norm)  # the residual path is missing from one


def test_features_are_selected_and_joined(make_open_clip: ClipFactory, images: Tensor) -> None:
    tower = ImageTower(make_open_clip().visual)
    both = tower(images)
    joined = concatenate([both.select(slice(1, 2)), both.select(torch.tensor([0]))])
    torch.testing.assert_close(joined.dense_embedding, both.dense_embedding.flip(0))
    torch.testing.assert_close(joined.to("cpu").taps[2], both.taps[2].flip(0))


@pytest.mark.parametrize(("depth", "taps"), [(12, (3, 5, 7, 11)), (6, (1, 2, 3, 5)), (1, (0,) * 4)])
def test_default_taps_of_a_depth(depth: int, taps: tuple[int, ...]) -> None:
    assert default_taps(depth) == taps


def test_taps_beyond_the_tower_are_refused(make_open_clip: ClipFactory) -> None:
    with pytest.raises(ValueError, match=r"expected four blocks in 0\.\.3.*got \(3, 5, 7, 11\)"):
        ImageTower(make_open_clip().visual, taps=(3, 5, 7, 11))


def test_images_smaller_than_a_patch_are_refused(make_open_clip: ClipFactory) -> None:
    with pytest.raises(ValueError, match=r"at least one patch \(8 pixels\), got 7 x 32"):
        ImageTower(make_open_clip().visual)(torch.zeros(1, 3, 7, 32))


def test_other_architectures_are_refused(make_open_clip: ClipFactory) -> None:
    with pytest.raises(ValueError, match="expected an open_clip VisionTransformer, got Linear"):
        ImageTower(torch.nn.Linear(2, 2))
    pooled = CLIPVisionCfg(
        layers=1, width=32, head_width=8, patch_size=8, image_size=16, attentional_pool=True
    )
    text = CLIPTextCfg(context_length=4, vocab_size=8, width=8, heads=2, layers=1)
    with pytest.raises(ValueError, match="choose a plain ViT"):
        ImageTower(CLIP(16, pooled, text).visual)
    oblong = CLIPVisionCfg(layers=1, width=32, head_width=8, patch_size=8, image_size=(16, 24))
    with pytest.raises(ValueError, match="expected a square patch grid"):
        ImageTower(CLIP(16, oblong, text).visual)


def test_half_precision_positions_are_rounded_after_resizing(make_open_clip: ClipFactory) -> None:
    tower = ImageTower(make_open_clip().visual)
    rounded = tower.configured(positions="half")
    assert rounded.vision is tower.vision
    for grid in ((4, 4), (3, 7)):
        positions = tower._positions(grid)
        assert torch.equal(rounded._positions(grid), positions.half().float())
        assert not torch.equal(rounded._positions(grid), positions)


def test_bicubic_positions_are_read_at_the_inexact_scale_of_the_releases(
    make_open_clip: ClipFactory,
) -> None:
    tower = ImageTower(make_open_clip().visual, positions="bicubic")
    native = tower.vision.positional_embedding[1:].detach().T.reshape(1, -1, 4, 4)
    found = tower._positions((3, 7))[1:].T.reshape(1, -1, 3, 7)
    # Cubic convolution (a = -0.75) by hand: output cell (2, 5) looks at scale (side + 0.1) / 4.
    place = [(index + 0.5) * 4 / (side + 0.1) - 0.5 for index, side in ((2, 3), (5, 7))]
    weights = [[_cubic(each - (int(each) + step)) for step in (-1, 0, 1, 2)] for each in place]
    rows, columns = ([min(max(int(each) + step, 0), 3) for step in (-1, 0, 1, 2)] for each in place)
    expected = sum(
        weights[0][i] * weights[1][j] * native[0, :, rows[i], columns[j]]
        for i in range(4)
        for j in range(4)
    )
    torch.testing.assert_close(found[0, :, 2, 5], expected)


def test_bicubic_positions_of_as_many_patches_as_natively_are_not_resized(
    make_open_clip: ClipFactory,
) -> None:
    vision = make_open_clip().visual
    found = ImageTower(vision, positions="bicubic")._positions((2, 8))
    torch.testing.assert_close(found, vision.positional_embedding)
    smooth = ImageTower(vision, positions="antialiased")._positions((2, 8))
    assert not torch.allclose(smooth, vision.positional_embedding)


def test_antialiased_positions_average_what_a_smaller_grid_covers(
    make_open_clip: ClipFactory,
) -> None:
    vision = make_open_clip().visual
    vision.positional_embedding.data[1:] = torch.tensor([0.0, 1.0]).repeat(8)[:, None]  # stripes
    striped = ImageTower(vision, positions="bicubic")._positions((1, 1))[1:]
    smooth = ImageTower(vision, positions="antialiased")._positions((1, 1))[1:]
    torch.testing.assert_close(smooth, torch.full_like(smooth, 0.5))
    assert not torch.allclose(striped, smooth, atol=1e-3)


def _cubic(distance: float) -> float:
    """Weight of a sample in cubic convolution with a = -0.75."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
