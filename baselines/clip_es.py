"""CLIP-ES: Grad-CAM of CLIP's softmax, refined with CLIP's attention (CAA). Nothing is trained.

`weakclip.stages.seeds` makes the maps; this module has the texts, image size, views and settings of
the release. `baselines/confidence.py` has the steps after the maps (CRF, confidence). The paper's
choice of the template by sharpness is not implemented.

References:
    Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023
    (`linyq2117/CLIP-ES`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip.names import (
    CLIP_ES_COCO_BACKGROUND,
    CLIP_ES_COCO_NAMES,
    CLIP_ES_VOC_BACKGROUND,
    CLIP_ES_VOC_NAMES,
)
from weakclip.ops.cam import normalise_cam
from weakclip.ops.parameters import count_parameters
from weakclip.stages.batches import check_batch, resize_images, whole_patches
from weakclip.stages.seeds import Affinity, SoftmaxGradCAM, class_activation_maps, encode_texts
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import Positions
    from weakclip.stages.protocols import Setting, TaggedImages

RELEASED_SOURCE = SoftmaxGradCAM(
    layer="ln_1", pooling="patches", stretch="twice", affinity=Affinity(boxes="release")
)
"""Layer, pooling, affinity and box clipping of the release, with VOC's box threshold of 0.4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipES:
    """CLIP-ES on any CLIP; the defaults are the release's for VOC."""

    template: str = "a clean origami {}."
    """Prompt template of classes and background words; the paper chose it by sharpness."""
    class_phrases: tuple[str, ...] | None = None
    """Phrases for the classes, e.g. with synonyms; None: the setting's names."""
    background: tuple[str, ...] | None = None
    """Background words; None: the setting's."""
    source: SoftmaxGradCAM = RELEASED_SOURCE
    """Settings of the maps: `layer="block-input"` for a shallow tower with average pooling,
    `affinity=None` for maps without CAA, `Affinity(boxes="whole")` for boxes that may include the
    last row and column."""
    positions: Positions = "half"
    """`half`: resized position embeddings are rounded as in the release."""
    scales: tuple[float, ...] = (1.0,)
    """Image sizes relative to the original; the release uses only the result of scale 1."""
    mirror: Literal["never", "also"] = "never"
    """`also`: average with the maps of the mirror image, which the release does not do."""

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales: expected one positive number or more, got {self.scales}")
        if self.template.count("{}") != 1:
            raise ValueError(f"template: expected one '{{}}', got {self.template!r}")

    def build(self, setting: Setting) -> ClipESMasker:
        """The method; it needs no fitting.

        Raises:
            ValueError: If the number of phrases differs from that of classes, or CLIP's tokeniser
                does not know a word.
        """
        return ClipESMasker(self, setting)


VOC = ClipES(class_phrases=CLIP_ES_VOC_NAMES, background=CLIP_ES_VOC_BACKGROUND)
"""The release on PASCAL VOC with OpenAI's ViT-B/16."""

COCO = ClipES(
    class_phrases=CLIP_ES_COCO_NAMES,
    background=CLIP_ES_COCO_BACKGROUND,
    source=replace(RELEASED_SOURCE, affinity=Affinity(boxes="release", box_threshold=0.7)),
)
"""The release on COCO."""

MICRO = ClipES(template="a photo of a {}.", source=replace(RELEASED_SOURCE, layer="block-input"))
"""For micro-CLIP: a template of its captions, and the layer that works with average pooling
(`docs/log.md`)."""


class ClipESMasker:
    """The PseudoMasker of `ClipES`; frozen."""

    def __init__(self, spec: ClipES, setting: Setting) -> None:
        """Encode the texts."""
        phrases = setting.class_names if spec.class_phrases is None else spec.class_phrases
        background = setting.background_words if spec.background is None else spec.background
        if len(phrases) != len(setting.class_names):
            raise ValueError(
                f"class_phrases: expected {len(setting.class_names)}, one for each class, got "
                f"{len(phrases)}; use `class_phrases=None` for the setting's names"
            )
        tower = setting.clip.image.configured(positions=spec.positions)
        self.spec, self.device = spec, setting.device
        self.clip: CLIPBundle = replace(setting.clip, image=tower)
        self.texts = encode_texts(self.clip, phrases, background, spec.template)

    def fit(self, data: TaggedImages, *, seed: int, report: Callable[[int, int], None]) -> None:
        """Do nothing."""

    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """Class activation maps of the tagged classes.

        The last block is run once for all classes of all images, with one backward pass.

        Args:
            images: (B, 3, H, W), uint8, of any size; resized to whole patches.
            image_labels: Image-level tags, (B, F), bool.

        Returns:
            (B, F, h, w), in [0, 1], on the patch grid h = ceil(H / patch), w = ceil(W / patch);
            at image size if several scales or mirror images are averaged.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If a shape is wrong.
        """
        size = check_batch(images, image_labels, classes=len(self.texts.foreground))
        images, labels = images.to(self.device), image_labels.to(self.device)
        flips = (False, True)[: 1 + (self.spec.mirror == "also")]
        views = [(scale, flip) for scale in self.spec.scales for flip in flips]
        maps = [self._view(images, labels, scale, flip=flip) for scale, flip in views]
        return maps[0] if len(maps) == 1 else _average(maps, size)

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Parameters of the two frozen towers."""
        return count_parameters({"image tower": self.clip.image, "text tower": self.clip.text})

    def _view(self, images: Tensor, labels: Tensor, scale: float, *, flip: bool) -> Tensor:
        height, width = images.shape[-2:]
        whole = whole_patches((height, width), self.clip.patch_size, scale=scale)
        pixels = resize_images(images, whole)
        pixels = pixels.flip(-1) if flip else pixels
        normal = normalise_images(pixels, self.clip.mean, self.clip.std)
        maps = class_activation_maps(self.clip, normal, labels, self.texts, self.spec.source)
        return maps.flip(-1) if flip else maps


def _average(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Mean of the maps of views, (B, F, h, w) each, at image size, normalised again."""
    resized = [F.interpolate(each, size, mode="bilinear", align_corners=False) for each in maps]
    return normalise_cam(torch.stack(resized).mean(dim=0))
