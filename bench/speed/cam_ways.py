"""The usual ways to make Grad-CAMs one image and one class at a time, for `bench/speed/cam.py`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

Way: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Normalised images (B, 3, H, W) and tags (B, F) to maps (B, F, h, w), at any scale."""


@dataclass(frozen=True, slots=True)
class Split:
    """A network cut at the layer that Grad-CAM looks at."""

    network: nn.Module
    """Images to class scores (B, F); reads the tags from its attribute `tags`."""
    layer: nn.Module
    """Its module whose output is looked at."""
    prefix: Callable[[Tensor], Tensor]
    """Images to the output of `layer` and whatever `rest` needs, (B, ...)."""
    rest: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    """Prefix of one image and its tags to (looked-at activations, class scores)."""
    to_map: Callable[[Tensor], Tensor]
    """Activations of the layer as (B, C, h, w)."""


def all_ways(ours: Way, split: Split) -> dict[str, Way]:
    """Ours first, then every rival that is installed."""
    ways: dict[str, Way] = {
        "ours": ours,
        "loop": partial(one_at_a_time, split),
        "shared prefix": partial(shared_prefix, split),
    }
    try:
        importlib.import_module("pytorch_grad_cam")
    except ImportError:
        sys.stderr.write("grad-cam is not installed: it is not timed\n")
        return ways
    return {**ways, "grad-cam": partial(package, split)}


def one_at_a_time(split: Split, images: Tensor, image_labels: Tensor) -> Tensor:
    """The usual way: a forward and a backward pass of everything per image and class."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    maps: dict[tuple[int, int], Tensor] = {}
    handle = split.layer.register_forward_hook(keep)
    for image, label in image_labels.nonzero().tolist():
        kept.clear()
        split.network.tags = image_labels[image : image + 1]
        split.network.zero_grad(set_to_none=True)
        split.network(images[image : image + 1])[0, label].backward()
        maps[image, label] = weighted(split, kept[0].detach(), cast("Tensor", kept[0].grad))[0]
    handle.remove()
    return gathered(maps, image_labels)


def shared_prefix(split: Split, images: Tensor, image_labels: Tensor) -> Tensor:
    """Layers before the hooked one once per image, the rest once per image and class."""
    maps: dict[tuple[int, int], Tensor] = {}
    for image in range(len(images)):
        with torch.no_grad():
            prefix = split.prefix(images[image : image + 1])
        for label in image_labels[image].nonzero()[:, 0].tolist():
            looked_at, scores = split.rest(prefix, image_labels[image : image + 1])
            (gradient,) = torch.autograd.grad(scores[0, label], looked_at)
            maps[image, label] = weighted(split, looked_at.detach(), gradient)[0]
    return gathered(maps, image_labels)


def package(split: Split, images: Tensor, image_labels: Tensor) -> Tensor:
    """The package grad-cam, one call per image and class; its maps are normalised already."""
    library = importlib.import_module("pytorch_grad_cam")
    targets = importlib.import_module("pytorch_grad_cam.utils.model_targets")

    class AtGrid(library.GradCAM):  # type: ignore[misc, name-defined]
        """Maps at the size of the grid: resizing is not what is compared."""

        def get_target_width_height(self, input_tensor: Tensor) -> tuple[int, int]:
            height, width = self.activations_and_grads.activations[0].shape[2:]
            return width, height

    maps: dict[tuple[int, int], Tensor] = {}
    with AtGrid(split.network, [split.layer], reshape_transform=split.to_map) as explainer:
        for image, label in image_labels.nonzero().tolist():
            split.network.tags = image_labels[image : image + 1]
            target = [targets.ClassifierOutputTarget(label)]
            maps[image, label] = torch.from_numpy(
                explainer(images[image : image + 1], targets=target)[0]
            )
    return gathered(maps, image_labels)


def weighted(split: Split, activations: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM of activations and gradient of one shape: (B, h, w)."""
    weights = split.to_map(gradient).mean(dim=(2, 3), keepdim=True)
    return (weights * split.to_map(activations)).sum(dim=1).relu()


def gathered(maps: dict[tuple[int, int], Tensor], image_labels: Tensor) -> Tensor:
    """Maps of pairs in one tensor, (B, F, h, w)."""
    first = next(iter(maps.values()))
    result = first.new_zeros(*image_labels.shape, *first.shape)
    for (image, label), values in maps.items():
        result[image, label] = values
    return result
