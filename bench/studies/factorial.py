"""Full factorial studies: main effects of components, and interactions of two components.

In a 2^f study every combination of f components, on or off, is one variant. The *main effect* of
a component is the mean score of the variants with it minus the mean of those without. The
*interaction* of two components is half the difference between the effect of one with the other on
and its effect with the other off: 0 if their effects add up, positive if they reinforce each other.
Each estimate uses many variants, so it is more precise than a single difference.

If a component acts only through another (`Study.acts_through`), its effect and interactions are
computed over the variants with that other component. Over all variants its effect would be halved,
and its interaction with the other component would be the same number again.

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
    """The factors of a factorial study, and their levels in each variant."""

    factors: tuple[str, ...]
    """The f slots that vary, in the order of the configuration."""
    levels: dict[str, tuple[int, ...]]
    """Variant -> one level per factor: 1 for the reference's value, -1 for the other value."""
    acts_through: tuple[tuple[str, str], ...] = ()
    """Pairs of factors: the first acts only where the second is on."""


GIVEN = ", with "
"""Separates the factors of a term from those that are held on."""


@dataclass(frozen=True, slots=True)
class Term:
    """A main effect (one factor) or an interaction (two), as weights of the variants' scores."""

    factors: tuple[str, ...]
    weights: dict[str, float]
    """One weight per variant; 0 for variants that the term does not use."""
    given: tuple[str, ...] = ()
    """Factors that are on in all variants that the term uses."""

    @property
    def name(self) -> str:
        """Factors joined by `×`, then the factors that are held on."""
        return " × ".join(self.factors) + (f"{GIVEN}{', '.join(self.given)}" if self.given else "")


def design_of(study: Study) -> Design | None:
    """Return the design of a full factorial study; None for any other study."""
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
    return Design(factors, levels, study.acts_through)


def terms_of(design: Design) -> list[Term]:
    """Return the main effects, then the pairwise interactions, in the order of the factors.

    A term uses only the variants in which its factors can act. The interaction of a factor with the
    one it acts through is left out, because it equals the factor's effect.

    Example:
        >>> two = {"both": (1, 1), "a": (1, -1), "b": (-1, 1), "none": (-1, -1)}
        >>> [(t.name, t.weights["both"], t.weights["a"]) for t in terms_of(Design(("a", "b"), two))]
        [('a', 0.5, 0.5), ('b', 0.5, -0.5), ('a × b', 0.5, -0.5)]
        >>> through = Design(("a", "b"), two, acts_through=(("a", "b"),))
        >>> [(t.name, t.weights["both"], t.weights["a"]) for t in terms_of(through)]
        [('a, with b', 1.0, 0.0), ('b', 0.5, -0.5)]
    """
    found = []
    for term in [*((name,) for name in design.factors), *combinations(design.factors, 2)]:
        given = tuple(dict.fromkeys(on for name, on in design.acts_through if name in term))
        if not set(given) & set(term):
            found.append(Term(factors=term, weights=_weights(design, term, given), given=given))
    return found


def _weights(design: Design, term: tuple[str, ...], given: tuple[str, ...]) -> dict[str, float]:
    """Weights of the variants: 2 / n times the product of the levels, over n variants."""
    levels = {
        variant: dict(zip(design.factors, signs, strict=True))
        for variant, signs in design.levels.items()
    }
    taken = [name for name, sign in levels.items() if all(sign[each] == 1 for each in given)]
    scale = 2 / len(taken)
    return {
        name: scale * math.prod(sign[each] for each in term) if name in taken else 0.0
        for name, sign in levels.items()
    }
