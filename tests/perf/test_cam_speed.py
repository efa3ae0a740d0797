"""Grad-CAM of a batch, ours and the usual ways: `pytest tests/perf --benchmark-only`.

Seeds are made by Grad-CAM, and the usual way to make them (one image, one class, one forward and
one backward pass through everything, `loop` and the package `grad-cam`) is what makes them slow.
`shared prefix` is what CLIP-ES's release does: layers before the hooked one once per image and
without gradients, the rest once per class. The test of agreement is not timed and always runs.
"""

from __future__ import annotations

import copy
import importlib
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.cost.subject import photo_like
from weakclip.clip.load import load_clip
from weakclip.clip.micro import MEAN, STD
from weakclip.ops.cam import present_softmax
from weakclip.stages.seeds import SoftmaxGradCAM, TextBank, class_activation_maps
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

CLASSES, BACKGROUND_TEXTS = 20, 25
SIDE = 8  # of micro-CLIP's grid


class Scores(nn.Module):
    """Probabilities of the present classes, by open_clip's own forward pass, weights as loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = load_clip("micro")
        generator = torch.Generator().manual_seed(0)
        vectors = torch.randn(CLASSES + BACKGROUND_TEXTS, self.clip.image.embed_dim,
                              generator=generator)  # fmt: skip
        self.everything = F.normalize(vectors, dim=1)
        self.texts = TextBank(self.everything[:CLASSES], self.everything[CLASSES:])
        self.vision = copy.deepcopy(self.clip.image.vision).requires_grad_(requires_grad=True)
        self.layer = cast("nn.Module", self.vision.transformer.resblocks[-1].ln_1)
        self.tags = torch.ones(1, CLASSES, dtype=torch.bool)

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(self.vision(images), self.tags)

    def scores(self, embedding: Tensor, tags: Tensor) -> Tensor:
        logits = self.clip.logit_scale * F.normalize(embedding, dim=-1) @ self.everything.T
        return present_softmax(logits, tags)


def ours(network: Scores, images: Tensor, tags: Tensor) -> Tensor:
    source = SoftmaxGradCAM(layer="ln_1")
    return class_activation_maps(network.clip, images, tags, network.texts, source)


def loop(network: Scores, images: Tensor, tags: Tensor) -> Tensor:
    found: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        found.append(output)

    maps = images.new_zeros(*tags.shape, SIDE, SIDE)
    handle = network.layer.register_forward_hook(keep)
    for image, label in tags.nonzero().tolist():
        found.clear()
        network.tags = tags[image : image + 1]
        network.zero_grad(set_to_none=True)
        network(images[image : image + 1])[0, label].backward()
        maps[image, label] = weighted(found[0].detach(), cast("Tensor", found[0].grad))
    handle.remove()
    return maps


def shared_prefix(network: Scores, images: Tensor, tags: Tensor) -> Tensor:
    tower, maps = network.clip.image, images.new_zeros(*tags.shape, SIDE, SIDE)
    for image in range(len(images)):
        with torch.no_grad():
            tokens = tower.forward_tokens(images[image : image + 1]).tokens[-2]
        for label in tags[image].nonzero()[:, 0].tolist():
            normed = tower.last_norm(tokens).detach().requires_grad_()
            embedding, _ = tower.read_out(tower.last_block(tokens, normed), (SIDE, SIDE))
            score = network.scores(embedding, tags[image : image + 1])[0, label]
            maps[image, label] = weighted(normed.detach(), *torch.autograd.grad(score, normed))
    return maps


def package(network: Scores, images: Tensor, tags: Tensor) -> Tensor:
    library = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
    targets = importlib.import_module("pytorch_grad_cam.utils.model_targets")

    class AtGrid(library.GradCAM):  # type: ignore[misc, name-defined]
        """Maps at the size of the grid: resizing is not what is compared."""

        def get_target_width_height(self, input_tensor: Tensor) -> tuple[int, int]:
            return SIDE, SIDE

    maps = images.new_zeros(*tags.shape, SIDE, SIDE)
    with AtGrid(network, [network.layer], reshape_transform=on_grid) as explainer:
        for image, label in tags.nonzero().tolist():
            network.tags = tags[image : image + 1]
            target = [targets.ClassifierOutputTarget(label)]
            found: Any = explainer(images[image : image + 1], targets=target)
            maps[image, label] = torch.from_numpy(found[0])
    return maps


WAYS: dict[str, Callable[[Scores, Tensor, Tensor], Tensor]] = {
    "ours": ours, "loop": loop, "shared prefix": shared_prefix, "grad-cam": package,
}  # fmt: skip


def on_grid(tokens: Tensor) -> Tensor:
    return torch.unflatten(tokens[:, 1:].transpose(1, 2), -1, (SIDE, SIDE))


def weighted(activations: Tensor, gradient: Tensor) -> Tensor:
    weights = on_grid(gradient).mean(dim=(2, 3), keepdim=True)
    return (weights * on_grid(activations)).sum(dim=1).relu()[0]


def batch(images: int) -> tuple[Tensor, Tensor]:
    """Normalised images and tags: 1, 2, 3, 4, 1, 2, ... classes an image."""
    generator = torch.Generator().manual_seed(0)
    tags = torch.zeros(images, CLASSES, dtype=torch.bool)
    for image in range(images):
        tags[image, torch.randperm(CLASSES, generator=generator)[: 1 + image % 4]] = True
    return normalise_images(photo_like(images, 128, 128, 0), MEAN, STD), tags


def stretched(maps: Tensor) -> Tensor:
    low = maps.amin(dim=(2, 3), keepdim=True)
    high = (maps - low).amax(dim=(2, 3), keepdim=True)
    return (maps - low) / torch.where(high > 0, high, 1)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("way", WAYS)
def test_grad_cam(benchmark: BenchmarkFixture, way: str) -> None:
    benchmark.pedantic(WAYS[way], (Scores().eval(), *batch(16)), rounds=3, warmup_rounds=1)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("way", [way for way in WAYS if way != "ours"])
def test_every_way_makes_the_same_maps(way: str) -> None:
    network, (images, tags) = Scores().eval(), batch(4)
    expected = ours(network, images, tags)
    assert float(expected.amax(dim=(2, 3))[tags].min()) > 0.5  # maps with something to compare
    maps = WAYS[way](network, images, tags)
    torch.testing.assert_close(stretched(maps), stretched(expected), rtol=0, atol=1e-5)
