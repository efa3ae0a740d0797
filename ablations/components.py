"""Which of the four components carries the gain?

The study combines two designs. *Leave one out*: the complete method without one component.
*Cumulative*: the baseline (all four off), then one more component per step. "Off" removes the
component but keeps strides, channels and training budget (`docs/method.md`).

The network determines the order of the steps. Prompt and matching affect the prediction only
through the score map, which the plain decoder does not read: without text guidance they cannot
change any logit. So the path adds the adapter, then the decoder that reads score maps, then prompt
and matching; and `no-text-guidance` equals `plus-adapter` up to dropout noise.

Source: Zhu et al., WeakCLIP, IJCV 2025, the component ablation on PASCAL VOC 2012.
Run: `nox -s ablate`, or `python -m bench run components`.
Cost: 8 configurations x 3 seeds; at most 15 minutes on two CPU cores with preset `cartoon`.
Expect: `results/tables/components.md`.
"""

from __future__ import annotations

from dataclasses import replace

from bench.studies.study import Comparisons, Study, Variant
from weakclip.config import (
    MICRO,
    Cosine,
    FixedTemplate,
    PlainDecoder,
    Resample,
    TextGuidedDecoder,
)

FULL = MICRO
assert isinstance(FULL.decoder, TextGuidedDecoder)
PLAIN = PlainDecoder(
    channels=FULL.decoder.channels,
    dropout=FULL.decoder.dropout,
    classifier_std=FULL.decoder.classifier_std,
)

BASELINE = replace(
    FULL, adapter=Resample(), prompt=FixedTemplate(), matching=Cosine(), decoder=PLAIN
)
PLUS_ADAPTER = replace(BASELINE, adapter=FULL.adapter)
PLUS_ADAPTER_GUIDANCE = replace(PLUS_ADAPTER, decoder=FULL.decoder)

LEARNING_RATE = (
    "On CartoonVOC prompts, adapter, co-attention and decoder learn with "
    f"{FULL.rates.prompt:g}, {FULL.rates.adapter:g}, {FULL.rates.matching:g} and "
    f"{FULL.rates.decoder:g} times the learning rate of the protocol, factors chosen on `tune` for "
    "the complete network (`results/tables/rates.md`). Rows without a component keep the factors "
    "of the others; nothing is claimed about other rates."
)

STUDY = Study(
    name="components",
    question="Which of the four components carries the gain?",
    reference=Variant(name="full", config=FULL),
    variants=(
        Variant(name="no-pyramid-adapter", config=replace(FULL, adapter=Resample())),
        Variant(name="no-prompt-context", config=replace(FULL, prompt=FixedTemplate())),
        Variant(name="no-co-attention", config=replace(FULL, matching=Cosine())),
        Variant(name="no-text-guidance", config=replace(FULL, decoder=PLAIN)),
        Variant(name="baseline", config=BASELINE),
        Variant(name="plus-adapter", config=PLUS_ADAPTER),
        Variant(name="plus-adapter-guidance", config=PLUS_ADAPTER_GUIDANCE),
    ),
    comparisons=(
        Comparisons(
            name="all four components together",
            short="baseline",
            pairs=(("full", "baseline"),),
        ),
    ),
    notes=(
        "Rows without one component and the steps of the path are estimates; the effect of one "
        "component is tested in study `factorial`.",
        LEARNING_RATE,
    ),
)
