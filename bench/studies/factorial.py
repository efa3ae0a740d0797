"""Full factorial studies: what each component does on average, and what two do only together.

In a 2^f study every combination of f components, on or off, is one variant. The *main effect* of
a component is the mean score of the variants with it minus the mean of those without. The
*interaction* of two is half the difference between the effect of the one in the presence of the
other and in its absence: 0 if their effects add up, positive if they help each other. Each of
these uses all variants, so it is known better than any single difference.

References:
    Box, Hunter and Hunter, "Statistics for Experimenters", 2005, chapter 5 (2^k designs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from bench.studies.slots import differing_slots, slot_names

if TYPE_CHECKING:
    from bench.studies.study import Study


@dataclass(frozen=True, slots=True)
class Design:
    """Which factors a factorial study has, and where each is on."""

    factors: tuple[str, ...]
    """Slots, f of them, in the order of the configuration."""
    levels: dict[str, tuple[int, ...]]
    """Variant -> one level per factor: 1 for the reference's value, -1 for the other."""


@dataclass(frozen=True, slots=True)
class Term:
    """A main effect (one factor) or an interaction (two), as weights of the variants' scores."""

    factors: tuple[str, ...]
    weights: dict[str, float]

    @property
    def name(self) -> str:
        """Factors joined by `×`."""
        return " × ".join(self.factors)


def design_of(study: Study) -> Design | None:
    """Return the design of a study whose variants are all combinations; none for others."""
    reference = study.reference.config
    changed = {row.name: set(differing_slots(row.config, reference)) for row in study.rows}
    varied = set().union(*changed.values())
    factors = tuple(slot for slot in slot_names(reference) if slot in varied)
    values = {slot: {getattr(row.config, slot) for row in study.rows} for slot in factors}
    if len(factors) < 2 or len(study.rows) != 2 ** len(factors):
        return None
    if any(len(found) != 2 for found in values.values()):
        return None
    # the variants differ from each other, so 2^f of them with two values a slot are all there are
    levels = {
        name: tuple(-1 if slot in slots else 1 for slot in factors)
        for name, slots in changed.items()
    }
    return Design(factors, levels)


def terms_of(design: Design) -> list[Term]:
    """Return the main effects, then the pairwise interactions, in the order of the factors.

    Example:
        >>> two = {"both": (1, 1), "a": (1, -1), "b": (-1, 1), "none": (-1, -1)}
        >>> [(t.name, t.weights["both"], t.weights["a"]) for t in terms_of(Design(("a", "b"), two))]
        [('a', 0.5, 0.5), ('b', 0.5, -0.5), ('a × b', 0.5, -0.5)]
    """
    indices = range(len(design.factors))
    chosen = [(index,) for index in indices] + list(combinations(indices, 2))
    scale = 2.0 ** (1 - len(design.factors))
    return [
        Term(
            factors=tuple(design.factors[index] for index in term),
            weights={
                name: scale * math.prod(levels[index] for index in term)
                for name, levels in design.levels.items()
            },
        )
        for term in chosen
    ]
