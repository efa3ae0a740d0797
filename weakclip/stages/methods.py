"""The ways from images and tags to class scores: one class a kind of method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.crf.dense import dense_crf
from weakclip.stages.inference import multi_scale_probabilities
from weakclip.stages.seeds import class_activation_maps, seeds_from
from weakclip.stages.size import FEWEST_PATCHES
from weakclip.training.execution import REFERENCE
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.crf.dense import CRFConfig
    from weakclip.network.model import WeakCLIP
    from weakclip.stages.plan import SeededTraining, TrainingFree
    from weakclip.stages.seeds import CAMSource, SeedRule, TextBank
    from weakclip.training.execution import Execution


class Scorer(Protocol):
    """Images and tags to class scores."""

    def __call__(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """Scores of the classes with background.

        Args:
            images: (B, 3, H, W), uint8, of one size, whole patches.
            image_labels: Image-level tags, (B, F), bool.

        Returns:
            (B, 1 + F, H, W), 0 or more; 0 for classes that are not tagged.
        """


class CAMScorer:
    """Maps of the frozen CLIP; the background is what no map claims."""

    def __init__(self, spec: TrainingFree, clip: CLIPBundle, texts: TextBank) -> None:
        """Hold the frozen CLIP and its texts."""
        self._source, self._clip, self._texts = spec.source, clip, texts

    def __call__(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """See `Scorer`."""
        cam = cams_of(self._clip, images, image_labels, self._texts, self._source)
        size = (images.shape[2], images.shape[3])
        cam = F.interpolate(cam, size, mode="bilinear", align_corners=False)
        return torch.cat([1 - cam.amax(dim=1, keepdim=True), cam], dim=1)


class NetworkScorer:
    """Class probabilities of a trained WeakCLIP, restricted to the tags."""

    def __init__(
        self,
        spec: SeededTraining,
        clip: CLIPBundle,
        model: WeakCLIP,
        execution: Execution = REFERENCE,
    ) -> None:
        """Hold a network in evaluation mode."""
        self._spec, self._clip, self._model = spec, clip, model
        self._execution = execution
        self._crop = whole_tile(spec, clip.patch_size)
        with torch.no_grad():
            self._text = model.text()

    def __call__(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """See `Scorer`."""
        probabilities = multi_scale_probabilities(
            self._model,
            normalise_images(images, self._clip.mean, self._clip.std),
            crop=self._crop,
            stride=2 * self._crop // 3,
            scales=self._spec.scales,
            text=self._text,
            execution=self._execution,
        )
        return probabilities * F.pad(image_labels, (1, 0), value=True)[:, :, None, None]


def whole_tile(spec: SeededTraining, patch: int) -> int:
    """Side of the windows in whole patches.

    Raises:
        ValueError: If it is too small for the coarsest level of the pyramid.
    """
    if spec.tile < FEWEST_PATCHES * patch:
        raise ValueError(
            f"tile: expected {FEWEST_PATCHES * patch} pixels or more for patches of {patch}, got "
            f"{spec.tile}"
        )
    return spec.tile // patch * patch


def cams_of(
    clip: CLIPBundle, images: Tensor, image_labels: Tensor, texts: TextBank, source: CAMSource
) -> Tensor:
    """Maps of the tagged classes, (B, F, h, w), of uint8 images (B, 3, H, W)."""
    normal = normalise_images(images, clip.mean, clip.std)
    return class_activation_maps(clip, normal, image_labels, texts, source)


def seeds_of(
    clip: CLIPBundle,
    images: Tensor,
    image_labels: Tensor,
    texts: TextBank,
    spec: tuple[CAMSource, SeedRule],
) -> Tensor:
    """Seed labels at the size of the images, (B, H, W), uint8 on the CPU, 255 = undecided."""
    cam = cams_of(clip, images, image_labels, texts, spec[0])
    seeds = seeds_from(cam, (images.shape[2], images.shape[3]), spec[1])
    return seeds.to("cpu", torch.uint8)


def refined(images: Tensor, scores: Tensor, image_labels: Tensor, crf: CRFConfig | None) -> Tensor:
    """Scores after the dense CRF on the tagged classes, (B, K, H, W); as they are without one."""
    if crf is None:
        return scores
    return dense_crf(images, scores, crf, present=F.pad(image_labels, (1, 0), value=True))
