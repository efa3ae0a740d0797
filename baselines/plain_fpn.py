"""A plain FPN trained with WeakCLIP's losses: the control for WeakCLIP's four components.

It has the same seeds, losses, schedule and decoder width, but no pyramid adapter, learnable
prompts, co-attention or text guidance. The difference of WeakCLIP to this control is the gain of
its components; the difference of this control to the maps is the gain of training a network.
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
    """A configuration with WeakCLIP's four components switched off.

    Args:
        config: A configuration with a text-guided decoder; its width, dropout and initialisation
            are kept.

    Raises:
        ValueError: If it has another decoder.

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
