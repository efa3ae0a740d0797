"""AffinityNet: a network learns the affinity of pixels, and scores take a random walk along it.

It is trained where class activation maps, after a dense CRF, are certain: two certain pixels with
the same label are similar, two with different labels are not; uncertain pixels are ignored. The
scores of an image then take a random walk whose steps prefer similar pixels.

References:
    Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly
    Supervised Semantic Segmentation" (AffinityNet), CVPR 2018; released code: jiwoon-ahn/psa.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.convnet.backbone import (
    MEAN,
    MICRO_BACKBONE,
    RESNET50,
    STD,
    Backbone,
    Stages,
)
from weakclip.convnet.kept import train_once
from weakclip.crf.dense import PSA, CRFConfig, build_lattices, dense_crf
from weakclip.data.artifacts import code_id, content_key
from weakclip.description import describe
from weakclip.labels import BACKGROUND, IGNORE
from weakclip.ops.parameters import count_parameters
from weakclip.ops.shapes import dims
from weakclip.ops.walk import Offset, disc_offsets, pair_values, random_walk
from weakclip.stages.kept_seeds import KeptSeeds, ensure_labels
from weakclip.stages.network import NothingToTrainOnError
from weakclip.stages.refine import (
    MICRO_CRF,
    BackgroundRule,
    Otsu,
    Power,
    check_refinement_input,
    known_labels,
    on_known_labels,
    with_background,
)
from weakclip.training.descent import Descent, descend
from weakclip.training.views import Framing, draw_view, normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.random import Generator
    from torch import Tensor

    from weakclip.stages.protocols import Refinement, Setting, TaggedImages

_EPS = 1e-5
_DESCENT = Descent(epochs=8, batch_size=8, weight_decay=5e-4)
_FRAMING = Framing(size=448, ratio=(0.8, 1.6))
_SURE_FOREGROUND, _SURE_BACKGROUND, _BACKGROUND = Power(alpha=4), Power(alpha=32), Power(alpha=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWalk:
    """Configuration of AffinityNet. The defaults are the paper's, with another backbone.

    Differs from the release: ResNet-50 instead of ResNet-38; pairs at the border are used in
    training; labels are resized to the grid by nearest neighbour instead of by averaging scores.
    """

    backbone: Backbone = RESNET50
    widths: tuple[int, int, int] = (64, 128, 256)
    """Channels to which each of the last three stages is reduced before concatenation."""
    radius: int = 5
    """Pairs have a smaller distance than this, in cells of the grid."""
    crf: CRFConfig = PSA
    sure_foreground: BackgroundRule = _SURE_FOREGROUND
    """A strong background: a class that exceeds it is certain."""
    sure_background: BackgroundRule = _SURE_BACKGROUND
    """A weak background: where it exceeds all classes, the background is certain."""
    recipe: Descent = _DESCENT
    framing: Framing = _FRAMING
    background: BackgroundRule = _BACKGROUND
    """Rule for the background score in the walk."""
    sharpness: float = 8.0
    """Exponent of the affinities ("beta")."""
    steps: int = 256

    def build(self, setting: Setting) -> Refinement:
        """The network, ready to be fitted."""
        return _RandomWalk(self, setting)


MICRO = RandomWalk(
    backbone=MICRO_BACKBONE,
    widths=(16, 32, 64),
    crf=MICRO_CRF.crf,
    recipe=Descent(epochs=4, batch_size=8, head_factor=1.0, weight_decay=5e-4),
    framing=Framing(size=128, ratio=(0.75, 1.25)),
    sure_foreground=Otsu(edge="strong"),
    sure_background=Otsu(edge="weak"),
    background=Otsu(),
    sharpness=32.0,
    steps=16,
)
"""For CartoonVOC: micro-backbone with 16 x 16 cells.

The default backgrounds fit the maps of the paper's classifier; these fit the maps of any method.
The number of steps is scaled with the area of the grid from the paper's 56 x 56 cells. The exponent
compensates for weaker affinities; it was chosen on the split `tune`, which no table reports."""


class AffinityNetwork(nn.Module):
    """Computes features whose distance measures the similarity of two cells."""

    def __init__(self, backbone: Backbone, widths: tuple[int, int, int]) -> None:
        """Initialise the layers; see `Stages` for the errors."""
        super().__init__()
        self.stages = Stages(backbone)
        self.head = nn.ModuleDict()
        for index, width in enumerate(widths):
            reduce = nn.Conv2d(self.stages.widths[index - 3], width, 1, bias=False)
            self.head[f"reduce{index}"] = nn.Sequential(reduce, nn.ELU())
        joined = sum(widths)
        self.head["join"] = nn.Sequential(nn.Conv2d(joined, joined, 1, bias=False), nn.ELU())

    def forward(self, images: Tensor) -> Tensor:
        """Features, (B, C, h, w), of normalised images, on the grid of the third last stage."""
        outputs = self.stages(images)[-3:]
        size = outputs[0].shape[2:]
        reduced = [
            F.interpolate(self.head[f"reduce{index}"](output), size, mode="bilinear")
            for index, output in enumerate(outputs)
        ]
        field: Tensor = self.head["join"](torch.cat(reduced, dim=1))
        return field


def affinities(field: Tensor, offsets: Sequence[Offset]) -> Iterator[Tensor]:
    """Affinities of all pairs, one offset at a time.

    Args:
        field: Features, (B, C, h, w).
        offsets: Offsets from a cell to its neighbours.

    Yields:
        exp(-mean absolute difference of the channels), (B, h', w'), in (0, 1]; differentiable.
    """
    for here, there in pair_values(field, offsets):
        yield (-(here - there).abs().mean(dim=1)).exp()


def sure_labels(image: Tensor, tags: Tensor, cams: Tensor, config: RandomWalk) -> Tensor:
    """Labels of an image where maps and CRF are certain.

    Args:
        image: (3, H, W), uint8.
        tags: (F,), bool.
        cams: (F, h, w), in [0, 1].
        config: The two backgrounds and the CRF.

    Returns:
        (H, W), int64: a class where it exceeds a strong background, 0 where even a weak background
        exceeds all classes, 255 elsewhere.
    """
    images, known = image[None], known_labels(tags[None])
    lattices = build_lattices(images, config.crf)

    def winner(rule: BackgroundRule) -> Tensor:
        scores = with_background(cams[None], (image.shape[1], image.shape[2]), rule)
        return dense_crf(images, scores, config.crf, present=known, lattices=lattices).argmax(1)[0]

    foreground, background = winner(config.sure_foreground), winner(config.sure_background)
    labels = torch.where(foreground == BACKGROUND, IGNORE, foreground)
    return torch.where(background == BACKGROUND, BACKGROUND, labels)


def affinity_loss(field: Tensor, labels: Tensor, offsets: Sequence[Offset]) -> Tensor:
    """Cross-entropy of the affinities, balanced over three kinds of pairs.

    Args:
        field: Features, (B, C, h, w).
        labels: Labels on the same grid, (B, h, w), int64, 255 = uncertain.
        offsets: Offsets from a cell to its neighbours.

    Returns:
        A scalar: 1/4 of the mean over pairs of background, plus 1/4 of that over pairs within a
        class, plus 1/2 of that over pairs of different labels. A mean over no pairs is 0.
    """
    sums = [field.new_zeros(()) for _ in range(3)]
    counts = [field.new_zeros(()) for _ in range(3)]
    pairs = zip(affinities(field, offsets), pair_values(labels, offsets), strict=True)
    for affinity, (here, there) in pairs:
        sure, alike = (here != IGNORE) & (there != IGNORE), here == there
        together, apart = -(affinity + _EPS).log(), -(1 + _EPS - affinity).log()
        kinds = (
            (sure & alike & (here == BACKGROUND), together),
            (sure & alike & (here != BACKGROUND), together),
            (sure & ~alike, apart),
        )
        for index, (chosen, cost) in enumerate(kinds):
            sums[index] = sums[index] + (cost * chosen).sum()
            counts[index] = counts[index] + chosen.sum()
    parts = [total / (count + _EPS) for total, count in zip(sums, counts, strict=True)]
    return parts[0] / 4 + parts[1] / 4 + parts[2] / 2


class _RandomWalk:
    """The `Refinement` of `RandomWalk`: the affinity network and the walk."""

    def __init__(self, config: RandomWalk, setting: Setting) -> None:
        self.config, self.setting, self.device = config, setting, setting.device
        self.offsets = disc_offsets(config.radius)
        self.files: tuple[Path, ...] = ()
        self.network = self._initialised(seed=0)

    def fit(
        self,
        data: TaggedImages,
        cams: Sequence[Tensor],
        *,
        seed: int,
        report: Callable[[int, int], None],
    ) -> None:
        """Learn affinities from certain labels; see `weakclip.stages.protocols.Refinement`.

        Labels and network are kept in the setting's folder; an interrupted training is resumed.

        Raises:
            ValueError: If no image has a tag.
        """
        config, made = self.config, 0

        def make(row: int) -> Tensor:
            nonlocal made
            found = sure_labels(data.image(row), data.image_labels[row], cams[row], config)
            made += 1
            report(made, len(data))
            return found

        kinds = (config.crf, config.sure_foreground, config.sure_background)
        key = ("sure", *(describe(kind) for kind in kinds), code_id(__name__))
        with self.setting.placed() as setting:
            labels = ensure_labels(cams, data, setting, key=key, make=make)
            if not labels.indices:
                raise NothingToTrainOnError("random walk: expected an image with a tag, got none")
            path = setting.place("networks") / f"random-walk-{self._key(labels, seed)}.safetensors"
            state = setting.place("training") / f"{path.stem}.pt"
            self.files = () if self.setting.folder is None else (path,)
            self.network = self._initialised(seed)
            train_once(
                self.network, path, setting.processes,
                lambda: self._train(data, labels, seed, report, state),
            )  # fmt: skip
            if setting.processes.first:
                state.unlink(missing_ok=True)

    def _key(self, labels: KeptSeeds, seed: int) -> str:
        return content_key(
            describe(self.config), seed, labels.key, self.device.type, code_id(__name__)
        )

    def _train(
        self,
        data: TaggedImages,
        labels: KeptSeeds,
        seed: int,
        report: Callable[[int, int], None],
        state: Path,
    ) -> None:
        config, network = self.config, self.network.train()

        def loss(places: Sequence[int], generator: Generator) -> Tensor:
            views = [
                draw_view(
                    data.image(labels.indices[place]), labels[place], config.framing, generator
                )
                for place in places
            ]
            images = torch.stack([view for view, _ in views]).to(self.device)
            targets = torch.stack([target for _, target in views]).to(self.device)
            field = network(normalise_images(images, MEAN, STD))
            small = F.interpolate(targets[:, None].float(), field.shape[2:], mode="nearest")
            return affinity_loss(field, small[:, 0].long(), self.offsets)

        descend(
            config.recipe, loss, body=network.stages, head=network.head,
            count=len(labels), seed=seed, report=report, resume=state,
        )  # fmt: skip
        network.eval()

    @torch.no_grad()
    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """See `weakclip.stages.protocols.Refinement`."""
        check_refinement_input(images, image_labels, cams)
        size = (images.shape[2], images.shape[3])
        field = self.network(normalise_images(images, MEAN, STD))
        _, _, height, width = dims(field, "B C h w", name="field")
        known = known_labels(image_labels)
        start = with_background(cams, size, self.config.background) * known[:, :, None, None]

        def walk(scores: Tensor) -> Tensor:
            alike, config = affinities(field, self.offsets), self.config
            return random_walk(
                scores, alike, self.offsets, sharpness=config.sharpness, steps=config.steps
            )

        walked = on_known_labels(walk, F.adaptive_avg_pool2d(start, (height, width)), known)
        return F.interpolate(walked, size, mode="bilinear")

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Numbers of weights of backbone and head."""
        return count_parameters({"backbone": self.network.stages, "head": self.network.head})

    def _initialised(self, seed: int) -> AffinityNetwork:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = AffinityNetwork(self.config.backbone, self.config.widths)
        return network.to(self.device).eval()
