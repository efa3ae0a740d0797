from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812

from tests.weakclip.conftest import NAMES, tokenize
from weakclip.network.prompts import ContextPrompt, FixedPrompt, encode_ensemble, encode_template

if TYPE_CHECKING:
    from weakclip.clip.bundle import CLIPBundle


def test_no_context_is_the_bare_class_name(clip: CLIPBundle) -> None:
    prompt = ContextPrompt(tokenize(NAMES), 24, length=0, class_specific=False, init_std=0.02)
    expected = clip.text.encode_tokens(tokenize(NAMES))
    torch.testing.assert_close(prompt(clip.text), expected, atol=1e-5, rtol=1e-4)


def test_context_of_word_embeddings_is_the_sentence_with_these_words(clip: CLIPBundle) -> None:
    words = tokenize(["a photo of"])[:, 1:4]
    prompt = ContextPrompt(tokenize(NAMES), 24, length=3, class_specific=False, init_std=0.02)
    prompt.context.data.copy_(clip.text.token_embedding(words))
    expected = clip.text.encode_tokens(tokenize([f"a photo of {name}" for name in NAMES]))
    torch.testing.assert_close(prompt(clip.text), expected, atol=1e-5, rtol=1e-4)


def test_class_specific_context_moves_its_own_class_only(clip: CLIPBundle) -> None:
    prompt = ContextPrompt(tokenize(NAMES), 24, length=2, class_specific=True, init_std=0.02)
    assert prompt.context.shape == (4, 2, 24)
    torch.autograd.backward(prompt(clip.text)[1].sum())
    assert prompt.context.grad is not None
    assert prompt.context.grad.abs().sum(dim=(1, 2)).bool().tolist() == [False, True, False, False]


def test_a_template_is_filled_with_the_name(clip: CLIPBundle) -> None:
    embeddings = encode_template(clip.text, tokenize, ["cat"], "one {} here")
    torch.testing.assert_close(embeddings, clip.text.encode_tokens(tokenize(["one cat here"])))
    assert FixedPrompt(embeddings)(clip.text) is embeddings


def test_an_ensemble_is_the_mean_of_directions(clip: CLIPBundle) -> None:
    templates = ("one {}", "two {} there")
    parts = [encode_template(clip.text, tokenize, NAMES, each) for each in templates]
    expected = (F.normalize(parts[0], dim=1) + F.normalize(parts[1], dim=1)) / 2
    ensemble = encode_ensemble(clip.text, tokenize, NAMES, templates)
    torch.testing.assert_close(ensemble, expected)
