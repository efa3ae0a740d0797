"""One cell of the grid of maps x refinements, as a value.

What a cell holds are values with a `build` method (`weakclip/stages/protocols.py`), so the harness
knows no method by name. WeakCLIP itself sits in the refinement as its configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weakclip.config import WeakCLIPConfig
    from weakclip.stages.maps import MapSource
    from weakclip.stages.protocols import RefinementSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """Whose class activation maps, and what is made of them: a row of a grid."""

    described_as: ClassVar[str] = "Method"
    """Records called it so before the library had a value of that name."""

    cam: MapSource
    refinement: RefinementSpec | WeakCLIPConfig


Setting = TypeVar("Setting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched(Generic[Setting]):
    """A map source or a refinement, the settings that a search tries, and the one that is used."""

    name: str
    settings: Mapping[str, Setting]
    """What is different -> the whole configuration; the first is the method's own."""
    chosen: str
    """A key of `settings`: the choice of `python -m bench.search.methods`, at first the first."""

    def __post_init__(self) -> None:
        if self.chosen not in self.settings:
            raise ValueError(
                f"{self.name}: expected a chosen setting among {', '.join(self.settings)}, got "
                f"{self.chosen!r}"
            )
