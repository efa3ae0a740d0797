"""MaskCLIP: dense scores of a frozen CLIP from the value path of its last block, nothing trained.

As a pseudo-mask method it compares the patches with the tagged classes and with background words;
the original has all classes of the data set and no background.

References:
    Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP" (MaskCLIP), ECCV 2022; released code:
    chongzhou96/MaskCLIP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines.images import check_batch
from baselines.templates import MASKCLIP_85
from weakclip.ops.cam import normalise_cam, present_softmax
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.stages.protocols import PseudoMasker, Setting, TaggedImages


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskCLIP:
    """What can be chosen about MaskCLIP; both repairs of the scores are off as in its VOC config.

    Differs from the release: keys are normalised over their channels (there by accident over the
    tokens) and are not sent through the attention's output projection; images are normalised with
    CLIP's own statistics; the classes are the image's tags and the background words.
    """

    templates: tuple[str, ...] = MASKCLIP_85
    """Sentences whose normalised embeddings are averaged for each class and background word."""
    short_side: int | None = 512
    """Images are resized to this short side first; None leaves their size. Both sides are then
    rounded to whole patches."""
    key_smoothing: float | None = None
    """Patches whose largest probability is below this (1: all) take the scores of patches with
    similar keys; None: off."""
    prompt_denoising: float | None = None
    """Classes whose probability stays below this everywhere get no score (0.5); None: off."""

    def __post_init__(self) -> None:
        if not self.templates or any(text.count("{}") != 1 for text in self.templates):
            raise ValueError(
                f"templates: expected sentences with one '{{}}' each, got {self.templates}"
            )
        if self.short_side is not None and self.short_side < 1:
            raise ValueError(f"short_side: expected 1 or more pixels, got {self.short_side}")

    def build(self, setting: Setting) -> PseudoMasker:
        """The method; it needs no fitting.

        Raises:
            ValueError: If a CLIP with a small vocabulary does not know a word.
        """
        return _MaskCLIP(self, setting)


MICRO = MaskCLIP(templates=("a photo of a {}.",), short_side=None)
"""For the embedded micro-CLIP, which knows few sentences, at the size of the images."""


class _MaskCLIP:
    """The frozen CLIP and the embeddings of all texts."""

    def __init__(self, config: MaskCLIP, setting: Setting) -> None:
        self.config, self.clip = config, setting.clip
        self.classes = len(setting.class_names)
        words = (*setting.class_names, *setting.background_words)
        self.texts = ensemble(setting.clip, words, config.templates)  # (F + M, E)

    def fit(self, data: TaggedImages, *, seed: int, report: Callable[[int, int], None]) -> None:
        """Nothing to learn."""

    @torch.no_grad()
    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """See `weakclip.stages.protocols.PseudoMasker`; the grid is that of the patches."""
        check_batch(images, image_labels, classes=self.classes)
        pixels = normalise_images(images, self.clip.mean, self.clip.std)
        trace = self.clip.image.forward_tokens(_resized(pixels, self.config, self.clip.patch_size))
        values = self.clip.image.value_path(trace.tokens[-2])
        _, dense = self.clip.image.read_out(values, trace.grid)
        cosine = torch.einsum("bdhw,kd->bkhw", F.normalize(dense, dim=1), self.texts)
        logits = self.clip.logit_scale * cosine  # (B, F + M, h, w)
        if self.config.prompt_denoising is not None:
            logits = denoise(logits, image_labels, self.config.prompt_denoising)
        chances = present_softmax(logits, image_labels)
        if self.config.key_smoothing is not None:
            keys = self.clip.image.last_keys(trace.tokens[-2])[:, 1:]
            chances = smooth(chances, keys, self.config.key_smoothing)
        return normalise_cam(chances * image_labels[:, :, None, None])

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """The frozen towers."""
        towers = {"image tower": self.clip.image, "text tower": self.clip.text}
        return {
            name: {"total": sum(p.numel() for p in tower.parameters()), "trainable": 0}
            for name, tower in towers.items()
        }


def ensemble(clip: CLIPBundle, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Mean text embedding of each word over the sentences, (K, E), of length 1.

    Raises:
        ValueError: If a CLIP with a small vocabulary does not know a word.
    """
    device = clip.text.positional_embedding.device
    total = torch.zeros((), device=device)
    for template in templates:
        ids = clip.tokenize([template.format(word) for word in words]).to(device)
        total = total + F.normalize(clip.text.encode_tokens(ids), dim=1)
    return F.normalize(total, dim=1)


def denoise(logits: Tensor, image_labels: Tensor, threshold: float) -> Tensor:
    """Drop the classes that win nowhere: their logits become -inf.

    Args:
        logits: Of F classes, then M background words, (B, F + M, h, w).
        image_labels: (B, F), bool; other classes take no part.
        threshold: Least probability a class must reach somewhere, in [0, 1].

    Returns:
        (B, F + M, h, w); background words are never dropped, so every patch keeps a text.
    """
    seen = present_softmax(logits, image_labels).amax(dim=(2, 3)) >= threshold
    background = logits.shape[1] - image_labels.shape[1]
    kept = F.pad(seen, (0, background), value=True)
    return logits.masked_fill(~kept[:, :, None, None], -torch.inf)


def smooth(chances: Tensor, keys: Tensor, threshold: float) -> Tensor:
    """Give unsure patches the scores of patches with similar keys.

    Args:
        chances: (B, F, h, w), in [0, 1].
        keys: Of the patches, (B, hw, D), any scale.
        threshold: Patches whose largest probability is below this are replaced.

    Returns:
        (B, F, h, w): sum over all patches of key cosine times probability. The weights do not sum
        to 1 and may be negative, so the scale is free.
    """
    unit = F.normalize(keys, dim=2)
    similarity = unit @ unit.transpose(1, 2)  # (B, hw, hw), symmetric
    mixed = torch.unflatten(chances.flatten(2) @ similarity, 2, chances.shape[2:])
    unsure = chances.amax(dim=1, keepdim=True) < threshold
    return torch.where(unsure, mixed, chances)


def _resized(pixels: Tensor, config: MaskCLIP, patch: int) -> Tensor:
    """Images at the chosen short side, both sides rounded to whole patches, at least one."""
    sides = pixels.shape[2:]
    factor = 1.0 if config.short_side is None else config.short_side / min(sides)
    size = [patch * max(1, round(side * factor / patch)) for side in sides]
    if list(sides) == size:
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", antialias=True)
