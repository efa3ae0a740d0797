"""The baselines as lines of the profile: timed function, inputs and parameters.

A baseline is timed for one complete step: from image and tags to class activation maps (`cam`),
from image, tags and maps to class scores (`refinement`), or from image to mask (`mask`). Nothing is
fitted, because cost does not depend on the values of weights. Images have the spectrum of
photographs, because the lattice of a dense CRF grows with the number of colours. Each has two tags.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.cartoon.vocabulary import BACKGROUND_WORDS
from bench.cost.counts import parameter_counts
from bench.cost.load import BASELINE_WORK, Load
from bench.cost.subject import SIDES, class_names, make_subject, photo_like, random_clip
from bench.errors import BenchError, unknown
from weakclip.clip.names import CLIP_ES_VOC_BACKGROUND
from weakclip.stages.protocols import Setting
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from bench.cost.load import Work
    from weakclip.config import WeakCLIPConfig

CATALOGUE = "baselines.catalogue"
"""Module of the baselines, loaded by name like studies."""
CONTEXT = 77  # positions of CLIP's text tower: baselines use complete sentences
TAGS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Inputs of a baseline."""

    images: Tensor
    """(B, 3, H, W), uint8."""
    image_labels: Tensor
    """(B, F), bool; `TAGS` tags per image."""
    cams: Tensor
    """(B, F, h, w), in [0, 1], on the patch grid."""


def baseline_work(size: str) -> dict[str, tuple[Work, Any]]:
    """Name -> (kind of work, configuration) of all baselines of a size, in the table's order.

    Raises:
        BenchError: If the package `baselines` is not found.
    """
    try:
        catalogue = importlib.import_module(CATALOGUE)
    except ModuleNotFoundError as error:
        raise BenchError(
            f"module {CATALOGUE!r} not found: the suite runs from the root of a checkout, as "
            "`python -m bench ...`"
        ) from error
    parts = zip(
        BASELINE_WORK, (catalogue.CAMS, catalogue.REFINEMENTS, catalogue.NETWORKS), strict=True
    )
    return {name: (work, spec) for work, part in parts for name, spec in part[size].items()}


def baseline_parameters(name: str, size: str) -> dict[str, dict[str, int]]:
    """Component of a baseline -> {"total", "trainable"}; empty if it has no parameters."""
    work, spec = baseline_work(size)[name]
    if work == "mask":
        return parameter_counts(make_subject(spec, size).model)
    sizes: dict[str, dict[str, int]] = spec.build(_setting(size, "cpu")).parameter_counts()
    return sizes


def baseline_call(load: Load) -> Callable[[], Tensor]:
    """The timed function of a baseline.

    Raises:
        BenchError: If the baseline is unknown.
    """
    known = baseline_work(load.size)
    if load.variant not in known:
        raise unknown("baseline", load.variant, known)
    work, spec = known[load.variant]
    inputs = random_inputs(load.size, load.batch, load.device)
    if work == "mask":
        return _network(spec, load, inputs)
    baseline = spec.build(_setting(load.size, load.device))
    if work == "cam":
        return lambda: baseline.cams(inputs.images, inputs.image_labels)
    return lambda: baseline.scores(inputs.images, inputs.image_labels, inputs.cams)


def random_inputs(size: str, count: int, device: str) -> Inputs:
    """Random inputs of `count` images, the same in every call."""
    side, classes = SIDES[size], len(class_names(size)) - 1
    generator = torch.Generator().manual_seed(0)
    image_labels = torch.zeros(count, classes, dtype=torch.bool)
    for row in image_labels:
        row[torch.randperm(classes, generator=generator)[:TAGS]] = True
    coarse = torch.rand(count, classes, 4, 4, generator=generator)
    cams = F.interpolate(coarse, (side // 16, side // 16), mode="bilinear")
    return Inputs(
        images=photo_like(count, side, side, 0).to(device),
        image_labels=image_labels.to(device),
        cams=(cams * image_labels[:, :, None, None]).to(device),
    )


def _setting(size: str, device: str) -> Setting:
    clip = random_clip(size, context=CONTEXT)
    clip.image.to(device)
    clip.text.to(device)
    words = CLIP_ES_VOC_BACKGROUND if size == "paper" else BACKGROUND_WORDS
    return Setting(
        clip=clip,
        class_names=class_names(size)[1:],
        background_words=words,
        device=torch.device(device),
    )


def _network(config: WeakCLIPConfig, load: Load, inputs: Inputs) -> Callable[[], Tensor]:
    """A function that labels images with a network, restricted to the tagged classes."""
    subject = make_subject(config, load.size, load.device)
    model = subject.model.eval()
    allowed = F.pad(inputs.image_labels, (1, 0), value=True)[:, :, None, None]
    with torch.no_grad():
        text = model.text()

    @torch.no_grad()
    def call() -> Tensor:
        pixels = normalise_images(inputs.images, subject.mean, subject.std)
        logits = model.segment(pixels, text=text)
        return logits.where(allowed, -torch.inf).argmax(dim=1)

    return call
