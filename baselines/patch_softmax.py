"""The class activation maps on which the component study trains, as a method.

A frozen CLIP compares each patch with the tagged classes and with background words; nothing is
trained. With `Keep` as refinement it gives the score from which every training starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from weakclip.ops.parameters import count_parameters
from weakclip.stages.batches import check_batch
from weakclip.stages.seeds import PatchSoftmax, class_activation_maps, encode_texts
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from weakclip.stages.protocols import PseudoMasker, Setting, TaggedImages


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSoftmaxMaps:
    """The maps of `weakclip.stages.seeds.PatchSoftmax`."""

    source: PatchSoftmax = PatchSoftmax()
    template: str = "a photo of a {}."
    """Prompt template with one `{}` for the name of a class."""

    def build(self, setting: Setting) -> PseudoMasker:
        """The method; it needs no fitting.

        Raises:
            ValueError: If CLIP's tokeniser does not know a word.
        """
        return _PatchSoftmaxMaps(self, setting)


class _PatchSoftmaxMaps:
    """The frozen CLIP and the embeddings of all texts."""

    def __init__(self, config: PatchSoftmaxMaps, setting: Setting) -> None:
        self.config, self.clip = config, setting.clip
        self.classes = len(setting.class_names)
        self.texts = encode_texts(
            setting.clip, setting.class_names, setting.background_words, config.template
        )

    def fit(self, data: TaggedImages, *, seed: int, report: Callable[[int, int], None]) -> None:
        """Do nothing."""

    @torch.no_grad()
    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """Maps on the grid of patches; see `weakclip.stages.protocols.PseudoMasker`."""
        check_batch(images, image_labels, classes=self.classes)
        pixels = normalise_images(images, self.clip.mean, self.clip.std)
        return class_activation_maps(
            self.clip, pixels, image_labels, self.texts, self.config.source
        )

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Parameters of the frozen towers."""
        return count_parameters({"image tower": self.clip.image, "text tower": self.clip.text})
