"""CLIMS: a classifier's activation maps, trained further with a frozen CLIP as critic.

First a standard classifier learns the tags. Then its maps are trained so that CLIP recognises the
class in the image masked by the map, does not recognise it in the rest of the image, and recognises
no co-occurring background in the former (`baselines/clims_losses.py`). At test time the maps are
CAMs of the classifier.

Differs from the release: texts are encoded once, CLIP's weights get no gradients, masked images are
encoded once per step, similarities are in float32, and an epoch's last, smaller batch is used.
These differences do not change the objective.

References:
    Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic
    Segmentation", CVPR 2022 (`CVI-SZU/CLIMS`, the version without CLIP fine-tuning).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines.clims_losses import CLIMS_COCO, CLIMS_VOC, CLIMSLosses, clims_terms
from baselines.clims_network import CLIMSNetwork
from baselines.crops import CropViews, draw_crop
from weakclip.clip.names import (
    CLIMS_COCO_BACKGROUND,
    CLIMS_COCO_NAMES,
    CLIMS_VOC_BACKGROUND,
    CLIMS_VOC_NAMES,
)
from weakclip.convnet.backbone import MEAN, MICRO_BACKBONE, STD, Backbone
from weakclip.ops.parameters import count_parameters
from weakclip.stages.batches import check_batch, resize_images
from weakclip.stages.seeds import encode_texts
from weakclip.training.descent import Descent, descend, step_count
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.random import Generator
    from torch import Tensor

    from weakclip.stages.protocols import Setting, TaggedImages

_EPS = 1e-5  # logit units: a map without positive logits stays 0
SLIPPED_MOMENTUM = 1e-4
"""The momentum of SGD in the release: a positional argument makes it the weight decay, not 0.9."""
RELEASED_BACKBONE = Backbone(frozen_stages=0)
RELEASED_CLASSIFICATION = Descent(momentum=SLIPPED_MOMENTUM)
RELEASED_CRITIQUE = Descent(epochs=15, learning_rate=2.5e-4, momentum=SLIPPED_MOMENTUM)
RELEASED_VIEWS = CropViews()


@dataclass(frozen=True, slots=True, kw_only=True)
class CLIMS:
    """CLIMS on any CLIP and any timm network; the defaults are the release's for VOC."""

    backbone: Backbone = RELEASED_BACKBONE
    """ResNet-50 at stride 16 with ImageNet weights and fixed normalisation in the first stage."""
    stem: Literal["fixed", "trained"] = "fixed"
    """Whether the first convolution and the affine part of its normalisation are trained."""
    classification: Descent = RELEASED_CLASSIFICATION
    """Optimisation of the first stage, in which the classifier learns the tags."""
    critique: Descent = RELEASED_CRITIQUE
    """Optimisation of the second stage, in which the maps learn from CLIP."""
    critique_norm: Literal["fixed", "trained"] = "trained"
    """Whether the statistics of batch normalisation are updated in the second stage."""
    losses: CLIMSLosses = CLIMS_VOC
    classification_views: CropViews = RELEASED_VIEWS
    critique_views: CropViews = RELEASED_VIEWS
    template: str = "a photo of {}."
    """Prompt template of classes and companions."""
    class_phrases: tuple[str, ...] | None = None
    """Phrases for the classes; None: the setting's names."""
    background: tuple[str, ...] | None = None
    """Companions to suppress; None: the setting's background words."""
    colours: Literal["imagenet", "clip"] = "imagenet"
    """Normalisation of the images for CLIP; the release uses that of the ResNet."""
    scales: tuple[float, ...] = (1.0, 0.5, 1.5, 2.0)
    """Relative image sizes whose maps are added, each also for the mirror image."""

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales: expected one positive number or more, got {self.scales}")
        if self.backbone.weights is None and self.stem == "fixed":
            raise ValueError(
                "stem: random weights must be trained; expected stem='trained' with weights=None"
            )

    def build(self, setting: Setting) -> CLIMSMasker:
        """A method that is ready to be fitted.

        Raises:
            FileNotFoundError: If the backbone's weights are missing.
            ValueError: If the number of phrases differs from that of classes, or CLIP's tokeniser
                does not know a word.
        """
        return CLIMSMasker(self, setting)


VOC = CLIMS(class_phrases=CLIMS_VOC_NAMES, background=CLIMS_VOC_BACKGROUND)
"""The release on PASCAL VOC, with OpenAI's ViT-B/32."""

COCO = CLIMS(
    class_phrases=CLIMS_COCO_NAMES,
    background=CLIMS_COCO_BACKGROUND,
    losses=CLIMS_COCO,
    critique=Descent(epochs=8, learning_rate=5e-4, batch_size=32, momentum=SLIPPED_MOMENTUM),
)
"""The release on COCO (two devices of 16 images)."""

MICRO = CLIMS(
    backbone=MICRO_BACKBONE,
    stem="trained",
    classification=Descent(epochs=8, learning_rate=0.1, head_factor=10.0, weight_decay=5e-4),
    critique=Descent(epochs=2, learning_rate=0.01, head_factor=1.0, weight_decay=5e-4),
    losses=CLIMSLosses(threshold=0.4),
    classification_views=CropViews(long_side=(96, 154), size=96),
    critique_views=CropViews(long_side=(96, 160), size=128),
    colours="clip",
    scales=(0.75, 1.0),
)
"""For CartoonVOC and micro-CLIP: micro-backbone, about two minutes on one core.

The classifier is that of `weakclip/convnet/classifier.py`. The threshold is the 90th percentile of
the cosine of a whole image and a background word (micro-CLIP's cosines are larger than ViT-B/32's).
With more steps or a larger learning rate in the second stage, maps spread over the whole image.
"""


class CLIMSMasker:
    """The PseudoMasker of `CLIMS`."""

    def __init__(self, spec: CLIMS, setting: Setting) -> None:
        """Build the network and encode the texts."""
        phrases = setting.class_names if spec.class_phrases is None else spec.class_phrases
        companions = setting.background_words if spec.background is None else spec.background
        self.spec, self.clip, self.device = spec, setting.clip, setting.device
        self.classes = len(setting.class_names)
        if len(phrases) != self.classes:
            raise ValueError(
                f"class_phrases: expected {self.classes}, one for each class, got {len(phrases)}; "
                "use `class_phrases=None` for the setting's names"
            )
        self.texts = encode_texts(self.clip, phrases, companions, spec.template)
        self.network = self._initialised(seed=0)
        self.states: Path | None = None
        """See `weakclip.stages.maps.Resumable`."""

    def fit(self, data: TaggedImages, *, seed: int, report: Callable[[int, int], None]) -> None:
        """Train both stages; see `weakclip.stages.protocols.PseudoMasker`.

        Raises:
            ValueError: If the data have another number of classes.
            FloatingPointError: If a loss is not finite.
        """
        if data.image_labels.shape[1] != self.classes:
            raise ValueError(
                f"image_labels: expected {self.classes} classes, got {data.image_labels.shape[1]}"
            )
        spec, self.network = self.spec, self._initialised(seed)
        norms = (spec.backbone.batch_norm, spec.critique_norm)
        stages = (spec.classification, spec.critique)
        views = (spec.classification_views, spec.critique_views)
        steps = [step_count(each, len(data)) for each in stages]
        for stage, loss in enumerate((self._tag_loss, self._critique_loss)):
            self.network.stages.fixed_norm = norms[stage] == "fixed"
            self.network.train()
            descend(
                stages[stage],
                _on_views(loss, data, views[stage], self.device),
                body=self.network.stages,
                head=self.network.classifier,
                count=len(data),
                seed=seed,
                report=_shifted(report, sum(steps[:stage]), sum(steps)),
                resume=self.states and self.states / ("tags.pt", "critique.pt")[stage],
            )
        self.network.eval()

    @torch.no_grad()
    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """Class activation maps of the tagged classes, with stride 4.

        Args:
            images: (B, 3, H, W), uint8.
            image_labels: Image-level tags, (B, F), bool.

        Returns:
            (B, F, ceil(H / 4), ceil(W / 4)), in [0, 1): the sum of positive logits over all scales
            and mirror images, divided by the maximum of each map.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If a shape is wrong.
        """
        height, width = check_batch(images, image_labels, classes=self.classes)
        images, labels = images.to(self.device), image_labels.to(self.device)
        grid = (math.ceil(height / 4), math.ceil(width / 4))
        total = torch.zeros(*labels.shape, *grid, device=self.device)
        for scale in self.spec.scales:
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            view = normalise_images(resize_images(images, size), MEAN, STD)
            maps = self.network(view).relu() + self.network(view.flip(-1)).relu().flip(-1)
            total += F.interpolate(maps, grid, mode="bilinear", align_corners=False)
        total *= labels[:, :, None, None]
        return total / (total.amax(dim=(2, 3), keepdim=True) + _EPS)

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Parameters of backbone, classifier and frozen towers."""
        parts = {
            "backbone": self.network.stages,
            "head": self.network.classifier,
            "image tower": self.clip.image,
            "text tower": self.clip.text,
        }
        return count_parameters(parts)

    def _tag_loss(self, views: Tensor, labels: Tensor) -> Tensor:
        logits = self.network(views).mean(dim=(2, 3))
        return F.multilabel_soft_margin_loss(logits, labels.float())

    def _critique_loss(self, views: Tensor, labels: Tensor) -> Tensor:
        terms = clims_terms(
            self.network(views).sigmoid(),
            recoloured(views, self.clip.mean, self.clip.std) if self._clip_colours else views,
            labels,
            embed=self.clip.image.vision,
            texts=self.texts,
            size=self.clip.image_size,
            losses=self.spec.losses,
        )
        return self.spec.losses.total(terms)

    @property
    def _clip_colours(self) -> bool:
        return self.spec.colours == "clip"

    def _initialised(self, seed: int) -> CLIMSNetwork:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = CLIMSNetwork(self.spec.backbone, self.classes, stem=self.spec.stem)
        return network.to(self.device).eval()


def _shifted(
    report: Callable[[int, int], None], before: int, steps: int
) -> Callable[[int, int], None]:
    """Report the steps of a stage as part of all steps."""
    return lambda done, _: report(before + done, steps)


def recoloured(
    images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Change the normalisation of images (B, 3, H, W) from ImageNet's to `mean`, `std` (0-255)."""
    theirs, ours = (
        [torch.tensor(each, device=images.device).view(1, 3, 1, 1) for each in pair]
        for pair in ((MEAN, STD), (mean, std))
    )
    return (images * theirs[1] + theirs[0] - ours[0]) / ours[1]


def _on_views(
    loss: Callable[[Tensor, Tensor], Tensor],
    data: TaggedImages,
    views: CropViews,
    device: torch.device,
) -> Callable[[Sequence[int], Generator], Tensor]:
    """A function from indices of images to the loss on random views of these."""

    def of(rows: Sequence[int], generator: Generator) -> Tensor:
        batch = torch.stack([draw_crop(data.image(row), views, generator) for row in rows])
        return loss(batch.to(device), data.image_labels[list(rows)].to(device))

    return of
