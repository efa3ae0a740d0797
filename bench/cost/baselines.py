"""The baselines as lines of the profile: what is called, on what, and how many weights it has.

A baseline is timed for one whole step: image and tags to class activation maps (`cam`), image, tags
and maps to class scores (`refinement`), or image to mask (`mask`). Nothing is fitted: cost does
not depend on what the weights know. Images are smooth like photographs, because the lattice of a
dense CRF grows with the number of colours; each has two tags.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.cartoon.vocabulary import BACKGROUND_WORDS
from bench.cost.counts import components, parameter_costs
from bench.cost.load import BASELINE_WORK, Load, Task
from bench.cost.subject import SIDES, class_names, make_subject, random_clip
from bench.errors import BenchError, unknown
from bench.speed.crf import photo_like
from weakclip.clip.names import CLIP_ES_VOC_BACKGROUND
from weakclip.labels import BACKGROUND
from weakclip.stages.protocols import ImageStack, Setting
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from torch import Tensor, nn

    from bench.cost.load import Work
    from weakclip.config import WeakCLIPConfig
    from weakclip.stages.maps import Sizes

CATALOGUE = "baselines.catalogue"
"""Module of the baselines, loaded by name as studies are."""
CONTEXT = 77  # positions of CLIP's text tower: the baselines' sentences are whole ones
TAGS = 2
IMAGES = 2
"""Of the training step that finds dead weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a baseline is given."""

    images: Tensor
    """(B, 3, H, W), uint8."""
    image_labels: Tensor
    """(B, F), bool, `TAGS` of each image."""
    cams: Tensor
    """(B, F, h, w), in [0, 1], on the patch grid."""


def baseline_work(size: str) -> dict[str, tuple[Work, Any]]:
    """Name -> (kind of work, configuration) of every baseline of a size, in the table's order.

    Raises:
        BenchError: If the catalogue cannot be found.
    """
    catalogue = _catalogue()
    parts = zip(
        BASELINE_WORK, (catalogue.CAMS, catalogue.REFINEMENTS, catalogue.NETWORKS), strict=True
    )
    return {name: (work, spec) for work, part in parts for name, spec in part[size].items()}


def dead_parameters(name: str, size: str) -> dict[str, int]:
    """Component of a baseline to its dead weights, in the sense of `profile_cost.Parameters`.

    A baseline is trained briefly on `IMAGES` images, on the CPU; a tensor is dead if it is
    trainable and no step of any stage leaves it a gradient. What learns nothing has none.
    """
    work, spec = baseline_work(size)[name]
    if work == "mask":
        costs = parameter_costs(make_subject(spec, size), size)
        return {component: cost.dead for component, cost in costs.items()}
    baseline = _catalogue().briefly(spec).build(_setting(size, "cpu"))
    trainable = {
        (component, weight): values.numel()
        for component, part in _told_parts(baseline).items()
        for weight, values in part.named_parameters()
        if values.requires_grad
    }
    alive: set[tuple[str, str]] = set()

    def after_step(_done: int, _steps: int) -> None:
        for component, part in _told_parts(baseline).items():
            for weight, values in part.named_parameters():
                if values.grad is not None and bool(values.grad.any()):
                    alive.add((component, weight))

    inputs = random_inputs(size, IMAGES, "cpu")
    maps = () if work == "cam" else (list(inputs.cams),)
    data = ImageStack(inputs.images, inputs.image_labels)
    baseline.fit(data, *maps, seed=0, report=after_step)
    dead = dict.fromkeys(baseline.parameter_counts(), 0)
    for (component, weight), count in trainable.items():
        dead[component] += count if (component, weight) not in alive else 0
    return dead


def baseline_task(load: Load) -> Task:
    """What is timed for a line of a baseline.

    Raises:
        BenchError: If there is no such baseline.
    """
    known = baseline_work(load.size)
    if load.variant not in known:
        raise unknown("baseline", load.variant, known)
    work, spec = known[load.variant]
    inputs = random_inputs(load.size, load.batch, load.device)
    if work == "mask":
        return _network(spec, load, inputs)
    baseline = spec.build(_setting(load.size, load.device))
    sizes: Sizes = baseline.parameter_counts()
    calls: dict[Work, Callable[[], object]] = {
        "cam": lambda: baseline.cams(inputs.images, inputs.image_labels),
        "refinement": lambda: baseline.scores(inputs.images, inputs.image_labels, inputs.cams),
    }
    return Task(call=calls[work], parameters=sizes, components=_told_parts(baseline))


def _catalogue() -> ModuleType:
    try:
        return importlib.import_module(CATALOGUE)
    except ModuleNotFoundError as error:
        raise BenchError(
            f"module {CATALOGUE!r} not found: the suite runs from the root of a checkout, as "
            "`python -m bench ...`"
        ) from error


def _told_parts(baseline: Any) -> dict[str, nn.Module]:  # noqa: ANN401 (a masker or a refinement)
    """Parts of a baseline by the names of its `parameter_counts`."""
    told = baseline.parameter_counts()
    return {name: part for name, part in _parts(baseline).items() if name in told}


def _parts(baseline: Any) -> dict[str, nn.Module]:  # noqa: ANN401
    """All parts of a baseline that can be found."""
    paths = {
        "backbone": ("network.stages",),
        "head": ("network.head", "network.classifier"),
        "decoder": ("decoder",),
        "image tower": ("clip.image",),
        "text tower": ("clip.text",),
    }
    found = {}
    for name, places in paths.items():
        for place in places:
            part = baseline
            for word in place.split("."):
                part = getattr(part, word, None)
            if part is not None:
                found[name] = part
    return found


def random_inputs(size: str, count: int, device: str) -> Inputs:
    """The same inputs each time.

    Args:
        size: `micro` or `paper`.
        count: Images B.
        device: Where to put them.
    """
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


def _network(config: WeakCLIPConfig, load: Load, inputs: Inputs) -> Task:
    """A network in WeakCLIP's place: image to the best of the tagged classes."""
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

    assert int(allowed[:, BACKGROUND].sum()) == load.batch
    sizes = {
        name: {
            "total": sum(each.numel() for each in part.parameters()),
            "trainable": sum(each.numel() for each in part.parameters() if each.requires_grad),
        }
        for name, part in components(model).items()
    }
    return Task(call=call, parameters=sizes, components=components(model))
