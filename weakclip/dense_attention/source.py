"""Training-free dense CLIPs: one map source whose settings are the published methods.

Patch embeddings of a frozen CLIP with changed attention in its last blocks
(`weakclip/clip/dense.py`) are compared with texts, and the similarities become class activation
maps (`scores.py`); `methods.py` contains the published settings. As pseudo-mask methods they use
the tagged classes and background words as texts; the originals use all classes of a data set.

This is not "DenseCLIP" of Rao et al. (CVPR 2022), which is trained and is one of the baselines.

References:
    Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP" (MaskCLIP), ECCV 2022.
    Wang, Mei and Yuille, "SCLIP: Rethinking Self-Attention for Dense Vision-Language Inference",
    ECCV 2024.
    Lan et al., "ClearCLIP: Decomposing CLIP Representations for Dense Vision-Language Inference",
    ECCV 2024.
    Hajimiri, Ben Ayed and Dolz, "Pay Attention to Your Neighbours: Training-Free Open-Vocabulary
    Semantic Segmentation" (NACLIP), WACV 2025.
    Bousselham et al., "Grounding Everything: Emerging Localization Properties in Vision-Language
    Transformers" (GEM), CVPR 2024.
    Li et al., "CLIP Surgery for Better Explainability with Enhancement in Open-Vocabulary Tasks",
    2023.
    Yang et al., "Exploring CLIP's Dense Knowledge for Weakly Supervised Semantic Segmentation"
    (ExCEL), CVPR 2025.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip.dense import VALUE_PATH, ChangedBlocks, dense_tokens
from weakclip.convnet.backbone import MEAN, STD
from weakclip.dense_attention.scores import (
    CLIPS_SOFTMAX,
    FeatureSurgery,
    PresentSoftmax,
    Scores,
    Similarities,
    activation_maps,
    similarities,
)
from weakclip.dense_attention.templates import MASKCLIP_85
from weakclip.network.prompts import encode_ensemble
from weakclip.ops.parameters import count_parameters
from weakclip.stages.batches import check_batch
from weakclip.stages.inference import windows
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import Positions
    from weakclip.stages.protocols import PseudoMasker, Setting, TaggedImages


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """The size to which images are resized."""

    short_side: int
    """In pixels."""
    proportions: Literal["kept", "square"] = "kept"
    """`kept`: the aspect ratio is kept; `square`: both sides become the short side."""

    def __post_init__(self) -> None:
        if self.short_side < 1:
            raise ValueError(f"short_side: expected 1 or more pixels, got {self.short_side}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Overlapping square windows; their text similarities are averaged per pixel."""

    size: int = 224
    """Side in pixels; a smaller image is a single window."""
    stride: int = 112

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.size:
            raise ValueError(f"stride: expected 1 to {self.size} (the size), got {self.stride}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseAttention:
    """Configuration of a training-free dense CLIP; the defaults are MaskCLIP's.

    Differs from the releases: images are resized to whole patches, bilinearly with antialiasing,
    where releases crop or pad them; the texts are the image's tags and background words; and each
    map is divided by its maximum. MaskCLIP's keys are normalised over their channels (its release
    normalises over the tokens by mistake) and skip the attention's output projection.
    """

    change: ChangedBlocks = VALUE_PATH
    scores: Scores = CLIPS_SOFTMAX
    templates: tuple[str, ...] = MASKCLIP_85
    """Templates whose normalised embeddings are averaged, for each name and background word."""
    class_phrases: tuple[tuple[str, ...], ...] | None = None
    """At least one name per class, instead of the setting's names; the best one counts."""
    background: tuple[str, ...] | None = None
    """Background words instead of the setting's."""
    resize: Resize | None = Resize(short_side=512)
    """None: images keep their size. In any case both sides are then rounded to whole patches."""
    colours: Literal["clip", "imagenet"] = "clip"
    """Source of the channel means and standard deviations for normalisation."""
    positions: Positions = "exact"
    """How position embeddings are resized."""
    windows: Windows | None = None
    """None: the whole image at once."""

    def __post_init__(self) -> None:
        if not self.templates or any(text.count("{}") != 1 for text in self.templates):
            raise ValueError(
                f"templates: expected sentences with one '{{}}' each, got {self.templates}"
            )
        if self.class_phrases is not None and not all(self.class_phrases):
            raise ValueError("class_phrases: expected one name or more for each class, got none")
        smoothed = isinstance(self.scores, PresentSoftmax) and self.scores.key_smoothing is not None
        if smoothed and self.windows is not None:
            raise ValueError(
                "key_smoothing: expected no windows, whose keys are not comparable, got "
                f"{self.windows}; use `windows=None`"
            )

    def build(self, setting: Setting) -> PseudoMasker:
        """The method; it needs no fitting.

        Raises:
            ValueError: If the number of phrases is not that of the classes, the scores need
                background words and there are none, or a word is not in the CLIP's vocabulary.
        """
        return _DenseAttention(self, setting)


class _DenseAttention:
    """The `PseudoMasker` of `DenseAttention`: the frozen CLIP and the text embeddings."""

    def __init__(self, spec: DenseAttention, setting: Setting) -> None:
        phrases = spec.class_phrases or tuple((name,) for name in setting.class_names)
        words = setting.background_words if spec.background is None else spec.background
        self.classes = len(setting.class_names)
        if len(phrases) != self.classes:
            raise ValueError(
                f"class_phrases: expected {self.classes}, one for each class, got {len(phrases)}; "
                "use `class_phrases=None` for the setting's names"
            )
        if isinstance(spec.scores, FeatureSurgery) and not words:
            raise ValueError(
                "background: expected one word or more, because feature surgery compares texts "
                "and an image may have a single tag, got none"
            )
        tower = setting.clip.image.configured(positions=spec.positions)
        self.spec = spec
        self.clip: CLIPBundle = replace(setting.clip, image=tower)
        mean, std = self.clip.mean, self.clip.std
        self.colours = (mean, std) if spec.colours == "clip" else (MEAN, STD)
        names = [name for each in phrases for name in each]
        self.owner = torch.tensor(
            [index for index, each in enumerate(phrases) for _ in each], device=setting.device
        )
        texts = encode_ensemble(
            self.clip.text, self.clip.tokenize, [*names, *words], spec.templates
        )
        self.texts = F.normalize(texts, dim=1)  # (N + M, E)

    def fit(self, data: TaggedImages, *, seed: int, report: Callable[[int, int], None]) -> None:
        """Learn nothing."""

    @torch.no_grad()
    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """See `weakclip.stages.protocols.PseudoMasker`; the grid is that of the patches.

        With windows, the grid is that of the pixels.
        """
        check_batch(images, image_labels, classes=self.classes)
        pixels = normalise_images(images, *self.colours)
        pixels = resized(pixels, self.spec.resize, self.clip.patch_size)
        words = len(self.texts) - len(self.owner)
        allowed = F.pad(image_labels[:, self.owner], (0, words), value=True)
        if self.spec.windows is None:
            found, keys = self._look(pixels, allowed)
        else:
            keys = None
            found = averaged(lambda part: self._look(part, allowed)[0], pixels, self.spec.windows)
        return activation_maps(
            self.spec.scores,
            found,
            image_labels,
            self.owner,
            logit_scale=self.clip.logit_scale,
            keys=keys,
        )

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Parameters of the two frozen towers."""
        return count_parameters({"image tower": self.clip.image, "text tower": self.clip.text})

    def _look(self, pixels: Tensor, allowed: Tensor) -> tuple[Similarities, Tensor]:
        """Similarities of normalised images to all texts, and the keys of their patches."""
        tower = self.clip.image
        trace = tower.forward_tokens(pixels)
        image, _ = tower.read_out(trace.tokens[-1], trace.grid)
        _, dense = tower.read_out(dense_tokens(tower, trace, self.spec.change), trace.grid)
        found = similarities(self.spec.scores, image, dense, self.texts, allowed)
        return found, tower.last_keys(trace.tokens[-2])[:, 1:]


def averaged(look: Callable[[Tensor], Similarities], pixels: Tensor, view: Windows) -> Similarities:
    """Similarities in overlapping windows, averaged per pixel.

    Args:
        look: Returns the similarities of one window of all images, (B, 3, S, S).
        pixels: Normalised images, (B, 3, H, W).
        view: Side and stride of the windows; the last ones end at the image border.

    Returns:
        Those of the patches, at image size; those of the image are the mean over the windows.
    """
    height, width = pixels.shape[2:]
    total: Tensor | None = None
    images, visits = [], pixels.new_zeros(height, width)
    for top in windows(height, view.size, view.stride):
        for left in windows(width, view.size, view.stride):
            rows, columns = slice(top, top + view.size), slice(left, left + view.size)
            part = pixels[:, :, rows, columns]
            found = look(part)
            if total is None:
                total = pixels.new_zeros(*found.image.shape, height, width)
            total[:, :, rows, columns] += F.interpolate(
                found.patches, part.shape[2:], mode="bilinear", align_corners=False
            )
            visits[rows, columns] += 1
            images.append(found.image)
    assert total is not None  # there is one window at least
    return Similarities(image=torch.stack(images).mean(dim=0), patches=total / visits)


def resized(pixels: Tensor, resize: Resize | None, patch: int) -> Tensor:
    """Resize images (B, 3, H, W); both sides are rounded to whole patches, at least one."""
    sides = pixels.shape[2:]
    factors = [1.0, 1.0]
    if resize is not None:
        square = resize.proportions == "square"
        factors = [resize.short_side / (side if square else min(sides)) for side in sides]
    whole = [
        patch * max(1, round(side * factor / patch))
        for side, factor in zip(sides, factors, strict=True)
    ]
    if list(sides) == whole:
        return pixels
    return F.interpolate(pixels, whole, mode="bilinear", antialias=True)
