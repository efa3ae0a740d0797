"""One cell of the grid of maps x refinements, as a value.

What a cell holds are values with a `build` method (`weakclip/stages/protocols.py`), so the harness
knows no method by name. WeakCLIP itself sits in the refinement as its configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weakclip.config import WeakCLIPConfig
    from weakclip.stages.protocols import MaskerSpec, RefinementSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Whose class activation maps, and what is made of them."""

    cam: MaskerSpec
    refinement: RefinementSpec | WeakCLIPConfig
