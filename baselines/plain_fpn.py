"""A plain FPN trained with WeakCLIP's losses: the control for WeakCLIP's four components.

The same seeds, losses, schedule and decoder width; none of the pyramid adapter, the learnable
prompts, the co-attention and the text guidance. What WeakCLIP adds to this control is what its
components add; what this control adds to the maps is what training a network on them adds.
"""

from __future__ import annotations

from dataclasses import replace

from weakclip.config import (
    MICRO,
    Cosine,
    FixedTemplate,
    PlainDecoder,
    Resample,
    TextGuidedDecoder,
    WeakCLIPConfig,
)


def plain_fpn(config: WeakCLIPConfig) -> WeakCLIPConfig:
    """The configuration without WeakCLIP's four components, the rest as it is.

    Args:
        config: With a text-guided decoder, whose width, dropout and initialisation stay.

    Raises:
        ValueError: If the decoder is another one.

    Example:
        >>> plain_fpn(MICRO).decoder
        PlainDecoder(channels=48, dropout=0.0, classifier_std=0.1)
    """
    decoder = config.decoder
    if not isinstance(decoder, TextGuidedDecoder):
        raise ValueError(
            f"plain_fpn: expected a text-guided decoder to take the text guidance from, got "
            f"{type(decoder).__name__}"
        )
    plain = PlainDecoder(
        channels=decoder.channels, dropout=decoder.dropout, classifier_std=decoder.classifier_std
    )
    return replace(
        config, adapter=Resample(), prompt=FixedTemplate(), matching=Cosine(), decoder=plain
    )


PLAIN_FPN_MICRO = plain_fpn(MICRO)
"""The `baseline` row of the component study."""
