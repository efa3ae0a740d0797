"""MaskCLIP, a method of the family in `weakclip/dense_attention`, with its own settings.

References:
    Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP" (MaskCLIP), ECCV 2022; released code:
    chongzhou96/MaskCLIP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weakclip.dense_attention.scores import PresentSoftmax
from weakclip.dense_attention.source import DenseAttention, Resize
from weakclip.dense_attention.templates import MASKCLIP_85

if TYPE_CHECKING:
    from weakclip.stages.protocols import PseudoMasker, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskCLIP:
    """Settings of MaskCLIP; key smoothing and prompt denoising are off, as in its VOC config.

    Differs from the release: keys are normalised over their channels (the release normalises over
    the tokens, by mistake) and do not pass through the attention's output projection; images are
    normalised with CLIP's own statistics; the classes are the image's tags and background words.
    """

    templates: tuple[str, ...] = MASKCLIP_85
    """Prompt templates; their normalised embeddings are averaged for each class or word."""
    short_side: int | None = 512
    """Images are resized to this short side first; None keeps their size. Both sides are then
    rounded to whole patches."""
    key_smoothing: float | None = None
    """Patches whose largest probability is below this (1: all) take the scores of patches with
    similar keys; None: off."""
    prompt_denoising: float | None = None
    """Classes whose probability is below this at all patches get no score; None: off."""

    @property
    def method(self) -> DenseAttention:
        """The equivalent configuration of the family."""
        size = None if self.short_side is None else Resize(short_side=self.short_side)
        scores = PresentSoftmax(
            key_smoothing=self.key_smoothing, prompt_denoising=self.prompt_denoising
        )
        return DenseAttention(templates=self.templates, resize=size, scores=scores)

    def __post_init__(self) -> None:
        _ = self.method  # checks the values

    def build(self, setting: Setting) -> PseudoMasker:
        """The method; it needs no fitting.

        Raises:
            ValueError: If CLIP's tokeniser does not know a word.
        """
        return self.method.build(setting)


MICRO = MaskCLIP(templates=("a photo of a {}.",), short_side=None)
"""For the embedded micro-CLIP, which knows few templates; images keep their size."""
