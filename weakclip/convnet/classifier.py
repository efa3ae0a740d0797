"""CAM and Grad-CAM of an image classifier, the origin of weakly-supervised segmentation.

A convolutional network learns the image-level tags; the class activation map is the contribution
of each cell to a class's logit. It uses neither text nor CLIP.

References:
    Zhou et al., "Learning Deep Features for Discriminative Localization" (CAM), CVPR 2016.
    Selvaraju et al., "Grad-CAM", ICCV 2017.
    Ahn et al., IRN, CVPR 2019: network, training and test protocol (jiwoon-ahn/irn).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.convnet.backbone import (
    MEAN,
    MICRO_BACKBONE,
    RESNET50,
    STD,
    Backbone,
    Stages,
    read_weights,
)
from weakclip.convnet.kept import write_weights
from weakclip.description import IMPLIED
from weakclip.ops.cam import grad_cam
from weakclip.ops.parameters import count_parameters
from weakclip.stages.batches import check_batch
from weakclip.stages.images import WorkingImages
from weakclip.training.descent import Descent, descend
from weakclip.training.views import Framing, draw_view, normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.random import Generator
    from torch import Tensor

    from weakclip.stages.protocols import PseudoMasker, Setting, TaggedImages

HEAD = "fc"
HEADS = (HEAD, "head", "head.fc", "classifier")
"""Names of the last layer in timm's networks."""
_EPS = 1e-5  # IRN's, in logit units; a map without evidence stays 0
_DESCENT = Descent()
_FRAMING = Framing(size=512, ratio=(0.47, 0.94))


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """The classification network and its training."""

    backbone: Backbone = RESNET50
    recipe: Descent = _DESCENT
    framing: Framing = _FRAMING
    """Training views; the default is IRN's (long side of 320 to 640, crop of 512)."""
    trained: Path | None = field(default=None, metadata={IMPLIED: None})
    """File of a trained classifier of these classes, written by `save_classifier`, or the state
    dict of any timm network that ends with a mean and a linear layer. None: one is trained."""


_CLASSIFIER = Classifier()
_MICRO_CLASSIFIER = Classifier(
    backbone=MICRO_BACKBONE,
    recipe=Descent(epochs=8, learning_rate=0.1, head_factor=10.0, weight_decay=5e-4),
    framing=Framing(size=96, ratio=(1.0, 1.6)),
)
"""The learning rates were chosen by the classifier's ranking of the tags of `tune`."""
_MICRO_SCALES = (0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CAM:
    """Maps of the linear head: the contribution of each cell to the class's logit."""

    classifier: Classifier = _CLASSIFIER
    scales: tuple[float, ...] = (1.0, 0.5, 1.5, 2.0)
    """Factors of the image size; the maps are added (IRN's)."""
    flip: bool = True
    """Whether the maps of the mirror image are added."""

    def build(self, setting: Setting) -> PseudoMasker:
        """The classifier, ready to be fitted."""
        return ClassifierMasker(self, setting, _linear_maps)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradCAM:
    """Maps of the gradient of a class's logit with respect to the output of a stage."""

    classifier: Classifier = _CLASSIFIER
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    stage: int = -2
    """Stage at whose output the gradient is taken. For -1, the last stage, the maps equal those of
    `CAM`, because the head is linear; -2 is the stage before."""

    def __post_init__(self) -> None:
        if self.stage >= 0:
            raise ValueError(f"stage: expected -1 (the last) or less, got {self.stage}")

    def build(self, setting: Setting) -> PseudoMasker:
        """The classifier, ready to be fitted."""

        def maps(network: TagNetwork, images: Tensor, image_labels: Tensor) -> Tensor:
            return gradient_maps(network, images, image_labels, stage=self.stage)

        return ClassifierMasker(self, setting, maps)


MICRO_CAM = CAM(classifier=_MICRO_CLASSIFIER, scales=_MICRO_SCALES)
"""For CartoonVOC: micro-backbone with 16 x 16 cells."""

MICRO_GRAD_CAM = GradCAM(classifier=_MICRO_CLASSIFIER, scales=_MICRO_SCALES)


class TagNetwork(nn.Module):
    """A backbone, a linear map per class without bias, and the mean over the cells."""

    def __init__(self, backbone: Backbone, classes: int) -> None:
        """Initialise for F classes; see `Stages` for the errors."""
        super().__init__()
        self.stages = Stages(backbone)
        self.head = nn.Conv2d(self.stages.widths[-1], classes, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the tags, (B, F), of normalised images (B, 3, H, W)."""
        logits: Tensor = self.head(self.stages(images)[-1]).mean(dim=(2, 3))
        return logits


def gradient_maps(network: TagNetwork, images: Tensor, image_labels: Tensor, stage: int) -> Tensor:
    """Grad-CAMs of all tagged classes of a batch, by one forward and one backward pass.

    The stages up to `stage` run once per image, later stages once per (image, class) pair.

    Args:
        network: A network in evaluation mode.
        images: Normalised images, (B, 3, H, W).
        image_labels: Image-level tags, (B, F), bool.
        stage: Stage at whose output the gradient is taken, negative.

    Returns:
        (B, F, h, w), >= 0, not normalised; 0 for classes that are not tagged.
    """
    with torch.no_grad():
        features: Tensor = network.stages(images)[stage]
    pairs, grid = image_labels.nonzero(), (features.shape[2], features.shape[3])

    def logit(cells: Tensor, pairs: Tensor) -> Tensor:
        maps = torch.unflatten(cells.transpose(1, 2), -1, grid).contiguous()
        logits: Tensor = network.head(network.stages.rest(maps, stage)).mean(dim=(2, 3))
        return logits.gather(1, pairs[:, 1:]).squeeze(1)

    result = features.new_zeros(*image_labels.shape, *grid)
    if len(pairs):
        cells = features.flatten(2).transpose(1, 2)
        maps = grad_cam(logit, cells, pairs, prefix_tokens=0)
        result[pairs[:, 0], pairs[:, 1]] = maps.view(-1, *grid)
    return result


@torch.no_grad()
def _linear_maps(network: TagNetwork, images: Tensor, image_labels: Tensor) -> Tensor:
    maps = network.head(network.stages(images)[-1]).relu()
    return cast("Tensor", maps * image_labels[:, :, None, None])


class ClassifierMasker:
    """The `PseudoMasker` of `CAM` and `GradCAM`: a classifier, and a function for its maps."""

    def __init__(
        self,
        config: CAM | GradCAM,
        setting: Setting,
        maps: Callable[[TagNetwork, Tensor, Tensor], Tensor],
    ) -> None:
        self.config, self.maps = config, maps
        self.states: Path | None = None
        """See `weakclip.stages.maps.Resumable`."""
        self.names, self.device = setting.class_names, setting.device
        self.classes = len(self.names)
        trained = config.classifier.trained
        self.network = (
            self._initialised(seed=0)
            if trained is None
            else load_classifier(trained, config.classifier.backbone, self.names)
            .to(self.device)
            .eval()
        )

    def fit(self, data: TaggedImages, *, seed: int, report: Callable[[int, int], None]) -> None:
        """Train the classifier; see `weakclip.stages.protocols.PseudoMasker`."""
        if self.config.classifier.trained is not None:
            return
        self.network = network = self._initialised(seed).train()
        usable = list(data.usable(range(len(data)))) if isinstance(data, WorkingImages) else None

        def loss(rows: Sequence[int], generator: Generator) -> Tensor:
            framing = self.config.classifier.framing
            rows = rows if usable is None else [usable[row] for row in rows]
            views = torch.stack([draw_image(data.image(row), framing, generator) for row in rows])
            tags = data.image_labels[rows].to(self.device, torch.float32)
            logits = network(normalise_images(views.to(self.device), MEAN, STD))
            return F.multilabel_soft_margin_loss(logits, tags)

        descend(
            self.config.classifier.recipe, loss, body=network.stages, head=network.head,
            count=len(data) if usable is None else len(usable), seed=seed, report=report,
            resume=self.states and self.states / "tags.pt",
        )  # fmt: skip
        network.eval()

    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """See `weakclip.stages.protocols.PseudoMasker`; the grid is that of the largest scale."""
        check_batch(images, image_labels, classes=self.classes)
        normalised = normalise_images(images, MEAN, STD)
        views = [self._view(normalised, image_labels, scale) for scale in self.config.scales]
        grid = max((view.shape[2], view.shape[3]) for view in views)
        resized = [F.interpolate(view, grid, mode="bilinear") for view in views]
        total = torch.stack(resized).sum(dim=0)
        return total / (total.amax(dim=(2, 3), keepdim=True) + _EPS)

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Numbers of weights of backbone and head."""
        return count_parameters({"backbone": self.network.stages, "head": self.network.head})

    def _view(self, images: Tensor, image_labels: Tensor, scale: float) -> Tensor:
        """Maps at a scale, plus those of the mirror image if configured."""
        size = [max(1, round(side * scale)) for side in images.shape[2:]]
        resized = F.interpolate(images, size, mode="bilinear") if scale != 1 else images
        maps = self.maps(self.network, resized, image_labels)
        if self.config.flip:
            maps = maps + self.maps(self.network, resized.flip(3), image_labels).flip(3)
        return maps

    def _initialised(self, seed: int) -> TagNetwork:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = TagNetwork(self.config.classifier.backbone, self.classes)
        return network.to(self.device).eval()


def save_classifier(path: Path, network: TagNetwork, classes: Sequence[str]) -> None:
    """Write a classifier by timm's names of the weights, with its classes, atomically."""
    head = {f"{HEAD}.weight": network.head.weight[:, :, 0, 0]}
    state = network.stages.network_state() | head
    write_weights(path, state, {"classes": json.dumps(list(classes))})


def load_classifier(path: Path, backbone: Backbone, classes: Sequence[str]) -> TagNetwork:
    """Load a classifier from a file.

    Args:
        path: See `Classifier.trained`.
        backbone: Its network.
        classes: Names of the F classes; if the file has no names, only their number is checked.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it contains another network, or a classifier of other classes.
    """
    state = read_weights(path, backbone.name)
    weights = [state[f"{name}.weight"] for name in HEADS if f"{name}.weight" in state]
    if len(weights) != 1 or weights[0].shape[0] != len(classes):
        found = f"one of {weights[0].shape[0]}" if len(weights) == 1 else "none"
        raise ValueError(
            f"{path}: expected a classifier of {len(classes)} classes (weights called "
            f"{' or '.join(HEADS)}), got {found}"
        )
    if (known := _classes(path)) and known != list(classes):
        raise ValueError(
            f"{path}: is a classifier of {', '.join(known)}; expected {', '.join(classes)}, in "
            "this order"
        )
    network = TagNetwork(replace(backbone, weights=path), len(classes))
    with torch.no_grad():
        network.head.weight.copy_(weights[0].reshape(network.head.weight.shape))
    return network


def _classes(path: Path) -> list[str]:
    """The class names in a file written by `save_classifier`; empty for another file."""
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
    except SafetensorError:
        return []
    return cast("list[str]", json.loads(notes.get("classes", "[]")))


def draw_image(image: Tensor, framing: Framing, generator: Generator) -> Tensor:
    """A random view, (3, S, S), uint8, of an image without labels."""
    nothing = torch.zeros(image.shape[1:], dtype=torch.int64)
    return draw_view(image, nothing, framing, generator)[0]
