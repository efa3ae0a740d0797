"""A loaded CLIP as one value: both towers, the tokeniser and the image normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from weakclip.clip.text import TextTower
from weakclip.clip.tower import ImageTower

if TYPE_CHECKING:
    from open_clip.model import CLIP

Tokenizer = Callable[[Sequence[str]], Tensor]
"""Maps K texts to token ids (K, L), int64, padded with 0; the end-of-text id is the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CLIPBundle:
    """A frozen CLIP for WeakCLIP, seeds and training-free baselines."""

    image: ImageTower
    text: TextTower
    tokenize: Tokenizer
    mean: tuple[float, float, float]
    """Mean to subtract from each RGB channel, in 0-255 units."""
    std: tuple[float, float, float]
    """Standard deviation to divide each RGB channel by, in 0-255 units."""
    logit_scale: float
    """Factor on the cosine in CLIP's own softmax, e.g. 100."""
    patch_size: int
    """Side of a patch in pixels."""
    image_size: int
    """Side in pixels of the training images."""
    name: str
    """Name for users and records, e.g. `micro-clip` or `ViT-B-16/openai`."""
    sha256: str
    """SHA-256 of the weights, hexadecimal."""

    @classmethod
    def from_open_clip(
        cls,
        clip: CLIP,
        tokenize: Tokenizer,
        *,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        name: str,
        sha256: str,
    ) -> CLIPBundle:
        """Bundle an open_clip model; its towers are frozen in place.

        Args:
            clip: A `CLIP` or `CustomTextCLIP` with a plain ViT.
            tokenize: Its tokeniser.
            mean: Channel means, 0-255 units.
            std: Channel standard deviations, 0-255 units.
            name: Name for records.
            sha256: Checksum of its weights.

        Raises:
            ValueError: If the towers do not support the architecture.
        """
        image = ImageTower(clip.visual)
        return cls(
            image=image,
            text=TextTower(clip),
            tokenize=tokenize,
            mean=mean,
            std=std,
            logit_scale=float(clip.logit_scale.detach().exp()),
            patch_size=image.patch_size,
            image_size=int(clip.visual.image_size[0]),
            name=name,
            sha256=sha256,
        )
