from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

from tests.weakclip.conftest import NAMES, tokenize
from weakclip.clip.text import TextTower, trim

if TYPE_CHECKING:
    from tests.weakclip.conftest import ClipFactory


def test_embeddings_are_open_clips_own(make_open_clip: ClipFactory) -> None:
    clip = make_open_clip()
    ids = tokenize(NAMES)
    expected = clip.encode_text(ids).detach()
    torch.testing.assert_close(TextTower(clip).encode_tokens(ids), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("projection_bias", [False, True])
def test_a_separate_text_model_is_understood(projection_bias: bool) -> None:
    clip = CustomTextCLIP(
        16,
        CLIPVisionCfg(layers=1, width=32, head_width=8, patch_size=8, image_size=16),
        CLIPTextCfg(
            context_length=16, vocab_size=50, width=24, heads=4, layers=2, proj_bias=projection_bias
        ),
    ).eval()
    ids = tokenize(NAMES)
    expected = clip.encode_text(ids).detach()
    torch.testing.assert_close(TextTower(clip).encode_tokens(ids), expected, atol=1e-5, rtol=1e-4)


def test_gradients_reach_the_embeddings_but_no_weight(make_open_clip: ClipFactory) -> None:
    tower = TextTower(make_open_clip()).train()
    ids = trim(tokenize(NAMES))
    embeddings = tower.token_embedding(ids).requires_grad_()
    torch.autograd.backward(tower.encode_embeddings(embeddings, ids.argmax(-1)).sum())
    assert embeddings.grad is not None
    assert embeddings.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in tower.parameters())
    assert not any(module.training for module in tower.modules())


def test_what_stands_behind_the_end_has_no_influence(make_open_clip: ClipFactory) -> None:
    tower = TextTower(make_open_clip())
    ids = tokenize(NAMES)
    long = tower.encode_embeddings(tower.token_embedding(ids), ids.argmax(-1))
    torch.testing.assert_close(tower.encode_tokens(ids), long, atol=1e-5, rtol=1e-4)


def test_a_prompt_longer_than_the_context_is_refused(make_open_clip: ClipFactory) -> None:
    tower = TextTower(make_open_clip())
    assert tower.context_length == 16
    with pytest.raises(ValueError, match=r"prompt of 17 tokens.*has 16 positions"):
        tower.encode_embeddings(torch.zeros(1, 17, tower.width), torch.tensor([16]))


def test_other_read_outs_are_refused(make_open_clip: ClipFactory) -> None:
    clip = make_open_clip()
    clip.text_pool_type = "last"
    with pytest.raises(ValueError, match="got pooling 'last'"):
        TextTower(clip)
