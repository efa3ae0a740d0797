"""The profiled networks: WeakCLIP at two sizes, with random weights and random images.

Cost does not depend on the values of the weights, so nothing has to be downloaded. Paper size is
ViT-B/16 on 512 x 512 pixels with VOC's 21 classes. Micro size is the architecture of micro-CLIP on
128 x 128 pixels with CartoonVOC's 21 classes.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.cartoon.vocabulary import DISPLAY_NAMES
from bench.errors import BenchError, unknown
from bench.studies.transfer import study_at
from weakclip.clip.bundle import CLIPBundle
from weakclip.clip.load import load_clip
from weakclip.clip.micro import MicroConfig, build_micro
from weakclip.clip.names import VOC_NAMES
from weakclip.clip.tokens import BytePairTokenizer
from weakclip.config import MICRO, PAPER, SeedAndBoundary, WeakCLIPConfig
from weakclip.labels import IGNORE
from weakclip.network.build import build_model
from weakclip.training.loop import optimiser_of
from weakclip.training.losses import build_supervision, images_on_grid
from weakclip.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from bench.studies.study import Study
    from weakclip.network.model import WeakCLIP
    from weakclip.training.losses import Supervision

SIDES = {"micro": 128, "paper": 512}
"""Size -> side of the images in pixels."""
SIZES = tuple(SIDES)
BASES = {"micro": MICRO, "paper": PAPER}
"""Size -> reference network of a study at this size."""
CLASSES = 21
"""Number of classes, background included."""
CONTEXT = 13
"""Text positions at paper size: five tokens for a name and eight learned vectors."""
VOCABULARY = 49408
VIT_B16 = MicroConfig(
    embed_dim=512, width=768, layers=12, head_width=64, image_size=512, pool="tok",
    context_length=CONTEXT, text_width=512, text_heads=8, text_layers=12,
)  # fmt: skip
"""CLIP ViT-B/16 with positions for 512 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Random images and seeds."""

    images: Tensor
    """Normalised images, (B, 3, H, W)."""
    seeds: Tensor
    """Seed labels, (B, H, W), int64; about a quarter undecided (255)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network with its losses, and the normalisation of its images."""

    config: WeakCLIPConfig
    model: WeakCLIP
    supervision: Supervision
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def grid(self) -> int:
        """Side of the grid of the losses, in cells."""
        spec = self.config.supervision
        return spec.grid if isinstance(spec, SeedAndBoundary) else SeedAndBoundary().grid

    def grid_images(self, images: Tensor) -> Tensor:
        """Images on the grid of the losses, (B, 3, g, g), uint8, from normalised images."""
        return images_on_grid(images, (self.grid, self.grid), mean=self.mean, std=self.std)


class LibraryStep:
    """A training step as in `weakclip.training.loop.fit`, including the encoding of new images.

    `fit` can also use cached features, and then does not encode images.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Put the network in training mode, and make its optimiser with the recipe's initial rates.

        `autocast` returns the context for the forward pass and the losses.
        """
        self.subject = subject
        self.autocast = autocast
        self.optimiser = optimiser_of(subject.model.train(), Recipe())

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Do one step; return the weighted losses by name, detached."""
        subject = self.subject
        with self.autocast():
            features = subject.model.encode(batch.images)
            losses = subject.supervision(
                subject.model(features), batch.seeds, subject.grid_images(batch.images)
            )
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return {name: value.detach() for name, value in losses.items()}


def configs_at(study: Study, size: str) -> dict[str, WeakCLIPConfig]:
    """Row -> network of a size, for all rows of a study.

    Raises:
        BenchError: If a row is not a configuration of WeakCLIP.
    """
    found: dict[str, WeakCLIPConfig] = {}
    for row in study_at(study, BASES[size]).rows:
        if not isinstance(row.config, WeakCLIPConfig):
            raise BenchError(
                f"profile: expected a study of WeakCLIP's own configurations, got {study.name!r}"
            )
        found[row.name] = row.config
    return found


def random_clip(size: str, *, context: int = CONTEXT) -> CLIPBundle:
    """A CLIP of a size with random weights, the same in every call.

    `context` is the number of text positions at paper size.

    Raises:
        BenchError: If the size is unknown.
    """
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    if size == "micro":
        return load_clip("random-micro")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = build_micro(replace(VIT_B16, context_length=context), VOCABULARY)
    return CLIPBundle.from_open_clip(
        clip.eval(),
        BytePairTokenizer(context),
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        name="ViT-B-16/random",
        sha256="",
    )


def make_subject(
    config: WeakCLIPConfig, size: str, device: str = "cpu", *, classes: int | None = None
) -> Subject:
    """A network of a size with its losses, by default with 21 classes, background included.

    Raises:
        BenchError: If the size is unknown.
    """
    clip = random_clip(size)
    clip.image.to(device)
    clip.text.to(device)
    model = build_model(config, clip, class_names(size, classes))
    return Subject(
        config=config,
        model=model,
        supervision=build_supervision(config.supervision, config.tau),
        mean=clip.mean,
        std=clip.std,
    )


def class_names(size: str, classes: int | None = None) -> tuple[str, ...]:
    """The 21 class names of a size, background first; for more `classes` names are repeated."""
    names = ("background", *(VOC_NAMES if size == "paper" else DISPLAY_NAMES))
    return tuple(names[index % len(names)] for index in range(classes or len(names)))


def random_batch(
    size: str,
    count: int,
    device: str = "cpu",
    *,
    side: int | None = None,
    classes: int | None = None,
) -> Batch:
    """Random images and seeds, by default with the side and the 21 classes of a size."""
    side, classes = side or SIDES[size], classes or CLASSES
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, side, side, generator=generator)
    coarse = torch.randint(0, classes * 4 // 3, (count, 1, 16, 16), generator=generator)
    labels = coarse.where(coarse < classes, IGNORE).float()
    seeds = torch.nn.functional.interpolate(labels, (side, side)).squeeze(1).long()
    return Batch(images=images.to(device), seeds=seeds.to(device))


def photo_like(images: int, height: int, width: int, seed: int) -> Tensor:
    """Random images (B, 3, H, W), uint8, with roughly the spectrum of photographs.

    The number of vertices in a lattice of a dense CRF is also roughly that of photographs.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.maximum(np.hypot(rows, columns), 1 / max(height, width))

    def field(channels: int) -> np.ndarray[Any, Any]:
        noise = rng.normal(size=(images, channels, height, width))
        values = np.fft.irfft2(np.fft.rfft2(noise) / frequency**1.45, s=(height, width))
        scaled: np.ndarray[Any, Any] = values / values.std((2, 3), keepdims=True)
        return scaled

    grain = rng.normal(size=(images, 3, height, width))
    pixels = 115 + 50 * field(1) + 15 * field(3) + grain
    return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))
