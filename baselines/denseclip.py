"""DenseCLIP: language-guided dense prediction, as a baseline of WeakCLIP's components.

DenseCLIP is a supervised segmentation network and does not make class activation maps. Here it
replaces WeakCLIP: it is trained on the same seeds and makes masks of the same images. It is a
`WeakCLIPConfig` that differs in three slots:

* matching: only the text attends to the image (context decoder, "post-model prompting"), and the
  result is added with a learned scale that starts at 1e-4;
* decoder: the score map is concatenated to one level of the pyramid, the third (stride 16 for a
  ViT);
* supervision: cross-entropy of the logits plus 0.4 times that of the score map.

Prompts (8 learned vectors) and pyramid (deconvolutions of four taps) are as in WeakCLIP, which took
them from DenseCLIP. One difference to the original remains: here the image tower is frozen, while
the original trains it at a tenth of the learning rate.

References:
    Rao et al., "DenseCLIP: Language-Guided Dense Prediction with Context-Aware Prompting", CVPR
    2022; released code: raoyongming/DenseCLIP.
"""

from __future__ import annotations

from dataclasses import replace

from weakclip.config import (
    MICRO,
    PAPER,
    CoAttention,
    CrossEntropy,
    TextGuidedDecoder,
    WeakCLIPConfig,
)


def denseclip(base: WeakCLIPConfig) -> WeakCLIPConfig:
    """DenseCLIP with the dimensions of a WeakCLIP.

    Args:
        base: A WeakCLIP with co-attention and a text-guided decoder; their widths are kept.

    Raises:
        ValueError: If `base` has another matching or decoder.
    """
    if not isinstance(base.matching, CoAttention) or not isinstance(
        base.decoder, TextGuidedDecoder
    ):
        raise ValueError(
            "denseclip: expected a WeakCLIP with CoAttention and TextGuidedDecoder, got "
            f"{type(base.matching).__name__} and {type(base.decoder).__name__}; start from PAPER"
        )
    return replace(
        base,
        matching=replace(base.matching, sides="text", initial_scale=1e-4),
        decoder=replace(base.decoder, levels=(2,)),
        supervision=CrossEntropy(matching_weight=0.4),
    )


DENSECLIP = denseclip(PAPER)
"""With the paper's dimensions."""

DENSECLIP_MICRO = denseclip(MICRO)
"""With the dimensions of the embedded micro-CLIP."""
