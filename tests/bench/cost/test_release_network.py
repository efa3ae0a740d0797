"""The merged network against the same weights layer by layer: an independent composition."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from bench.cost.release_network import layer_by_layer
from bench.cost.subject import make_subject
from bench.errors import BenchError
from weakclip.clip.tower import Features
from weakclip.config import (
    MICRO,
    CoAttention,
    DecoderSlot,
    PlainDecoder,
    PyramidAdapter,
    Resample,
    TextGuidedDecoder,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from weakclip.config import WeakCLIPConfig
    from weakclip.network.model import WeakCLIP

SMALL = replace(MICRO, matching=CoAttention(width=16, depth=1, heads=2, dropout=0.0))
DECODERS: dict[str, DecoderSlot] = {
    "every level": TextGuidedDecoder(channels=8, dropout=0.5, score_scale=3.0, classifier_std=0.1),
    "one level": TextGuidedDecoder(channels=8, dropout=0.0, levels=(2,), classifier_std=0.1),
    "plain": PlainDecoder(channels=8, dropout=0.5, classifier_std=0.1),
}


def model_of(config: WeakCLIPConfig) -> WeakCLIP:
    return make_subject(config, "micro", classes=5).model.double()


def features_of(model: WeakCLIP, grid: tuple[int, int]) -> Features:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    width, embed_dim = model.image_tower.width, model.image_tower.embed_dim
    return Features(
        taps=tuple(random(3, width, *grid) for _ in range(4)),
        global_embedding=random(3, embed_dim),
        dense_embedding=random(3, embed_dim, *grid),
    )


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("grid", [(4, 6), (5, 3)])
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("adapter", ["trained", "frozen"])
def test_merged_layers_give_the_outputs_and_gradients_of_the_layers_apart(
    adapter: str, decoder: str, grid: tuple[int, int], *, training: bool
) -> None:
    slot = PyramidAdapter(training="trained" if adapter == "trained" else "frozen")
    ours = model_of(replace(SMALL, adapter=slot, decoder=DECODERS[decoder])).train(training)
    theirs = copy.deepcopy(ours)
    features = features_of(ours, grid)
    torch.manual_seed(1)
    mine = ours(features)
    torch.manual_seed(1)
    expected = layer_by_layer(theirs, features)
    torch.testing.assert_close(mine.logits, expected.logits, rtol=1e-10, atol=1e-10)
    for output in (mine, expected):
        torch.autograd.backward(output.logits.square().sum())
    found, wanted = gradients(ours), gradients(theirs)
    assert found.keys() == wanted.keys() > set()
    scale = max(float(gradient.abs().max()) for gradient in wanted.values())
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-10 * scale)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


def test_refuses_an_adapter_without_layers() -> None:
    model = model_of(replace(SMALL, adapter=Resample()))
    with pytest.raises(BenchError, match="got ResampledTaps"):
        layer_by_layer(model, features_of(model, (4, 4)))
