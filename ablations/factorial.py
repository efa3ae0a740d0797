"""Which components help only together?

The rows are all 16 combinations of the four components, on or off: 10 distinct trainings. The plain
decoder does not read the score map. So without text guidance prompt and matching do not affect the
prediction: the matching loss trains only parameters of the score map, which no logit depends on.
Their effects and interactions are therefore computed over the 8 rows with text guidance, and
"prompt x decoder" is not a term, because it would equal the effect of the prompt. The effects of
text guidance and of the adapter are computed over all rows (`docs/statistics.md`). These eight
terms are the suite's tests of single components.

Without text guidance, rows that differ only in prompt and matching are the same training; the
statistics count them once.

Source: none; the papers print single differences only.
Run: `nox -s ablate -- factorial`, or `python -m bench run factorial`.
Cost: 16 configurations x 3 seeds; 8 of them are copied from the component study. The others took 16
minutes on two CPU cores with other load.
Expect: `results/tables/factorial_factorial.md`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from ablations.components import FULL, LEARNING_RATE, PLAIN
from bench.studies.study import Study, Variant
from weakclip.config import Cosine, FixedTemplate, Resample

SLOTS = ("adapter", "prompt", "matching", "decoder")


def _variant(*on: bool) -> Variant:
    """The variant named by the components that are on."""
    adapter, prompt, matching, decoder = on
    config = replace(
        FULL,
        adapter=FULL.adapter if adapter else Resample(),
        prompt=FULL.prompt if prompt else FixedTemplate(),
        matching=FULL.matching if matching else Cosine(),
        decoder=FULL.decoder if decoder else PLAIN,
    )
    names = [slot for slot, is_on in zip(SLOTS, on, strict=True) if is_on]
    return Variant(name="full" if all(on) else "-".join(names) or "baseline", config=config)


CELLS = tuple(_variant(*on) for on in product((True, False), repeat=len(SLOTS)))

STUDY = Study(
    name="factorial",
    question="Which components help only together?",
    reference=CELLS[0],
    variants=CELLS[1:],
    acts_through=(("prompt", "decoder"), ("matching", "decoder")),
    notes=(LEARNING_RATE,),
)
