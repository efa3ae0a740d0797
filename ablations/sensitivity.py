"""How much does each choice inside a component matter?

One factor at a time: every row differs from the reference in one slot, and its name gives the
value. `ablations/comparison.py` varies the maps from which seeds are made.

Source: Zhu et al., WeakCLIP, IJCV 2025 (prompt length, losses); Rao et al., DenseCLIP, CVPR 2022
(score map at one level); the rest has not been published.
Run: `nox -s ablate -- sensitivity`, or `python -m bench run sensitivity`.
Cost: 21 configurations x 3 seeds; 15 of the runs are copied from other studies. The others took 31
minutes on two CPU cores.
Expect: `results/tables/sensitivity.md`.
"""

from __future__ import annotations

from dataclasses import replace

from ablations.components import FULL, PLAIN
from bench.studies.study import Series, Study, Variant
from weakclip.config import (
    CoAttention,
    CrossEntropy,
    LearnableContext,
    PyramidAdapter,
    RawTaps,
    Resample,
    ScoreMapDecoder,
    SeedAndBoundary,
    TextGuidedDecoder,
)

assert isinstance(FULL.prompt, LearnableContext)
assert isinstance(FULL.matching, CoAttention)
assert isinstance(FULL.decoder, TextGuidedDecoder)
assert isinstance(FULL.supervision, SeedAndBoundary)

CONFIGS = {
    **{f"context-{n}": replace(FULL, prompt=replace(FULL.prompt, length=n)) for n in (0, 2, 4, 16)},
    **{f"depth-{n}": replace(FULL, matching=replace(FULL.matching, depth=n)) for n in (1, 3)},
    "stacking-last": replace(FULL, matching=replace(FULL.matching, stacking="last")),
    "adapter-frozen": replace(FULL, adapter=PyramidAdapter(training="frozen")),
    "adapter-off": replace(FULL, adapter=Resample()),
    **{f"tau-{f'{tau:g}'.replace('.', '-')}": replace(FULL, tau=tau) for tau in (0.01, 0.03, 0.2)},
    "no-boundary-loss": replace(FULL, supervision=replace(FULL.supervision, boundary_weight=0.0)),
    "no-matching-loss": replace(FULL, supervision=replace(FULL.supervision, matching_weight=0.0)),
    "raw-taps": replace(FULL, tap_scale=RawTaps()),
    "cross-entropy": replace(FULL, supervision=CrossEntropy()),
    "guided-at-stride-4": replace(FULL, decoder=replace(FULL.decoder, levels=(0,))),
    "guided-at-stride-32": replace(FULL, decoder=replace(FULL.decoder, levels=(3,))),
    "unguided": replace(FULL, decoder=PLAIN),
    "no-decoder": replace(FULL, decoder=ScoreMapDecoder()),
}
"""Variant -> configuration. The reference has 8 context vectors, depth 2 and tau 0.07."""

STUDY = Study(
    name="sensitivity",
    question="How much does each choice inside a component matter?",
    reference=Variant(name="full", config=FULL),
    variants=tuple(Variant(name=name, config=config) for name, config in CONFIGS.items()),
    series=(
        Series(name="prompt-length", label="context vectors", path="prompt.length"),
        Series(name="co-attention-depth", label="co-attention layers", path="matching.depth"),
        Series(name="tau", label="temperature τ", path="tau", log=True),
    ),
)
