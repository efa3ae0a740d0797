"""One cell of the grid of maps x refinements, as a value, and what is trained on its masks.

What a cell holds are values with a `build` method (`weakclip/stages/protocols.py`), so the harness
knows no method by name. WeakCLIP itself sits in the refinement as its configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from weakclip.description import IMPLIED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weakclip.config import WeakCLIPConfig
    from weakclip.stages.maps import MapSource
    from weakclip.stages.protocols import RefinementSpec
    from weakclip.stages.retrain import Retraining


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth:
    """In the place of maps and refinement: the annotated masks of the training split.

    An upper bound: it has what no weakly-supervised method has.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPreset:
    """In the place of a retraining: that of the preset which the study is run with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """Whose class activation maps, and what is made of them: a row of a grid."""

    described_as: ClassVar[str] = "Method"
    """Records called it so before the library had a value of that name."""

    cam: MapSource | GroundTruth
    refinement: RefinementSpec | WeakCLIPConfig | GroundTruth
    retraining: Retraining | OfPreset | None = field(default=None, metadata={IMPLIED: None})
    """What is trained on the masks and scored on `val`; absent: the refinement itself, if it can
    label images without tags."""
    finish: Literal["crf", "none"] = field(default="crf", metadata={IMPLIED: "crf"})
    """What the masks that are retrained on go through: the preset's dense CRF, or nothing."""

    def __post_init__(self) -> None:
        annotated = [isinstance(part, GroundTruth) for part in (self.cam, self.refinement)]
        if any(annotated) and (not all(annotated) or self.retraining is None):
            raise ValueError(
                "row of the ground truth: expected it as maps and as refinement, and a retraining"
            )

    @property
    def is_supervised(self) -> bool:
        """Whether the annotated masks stand in the place of a method."""
        return isinstance(self.cam, GroundTruth)


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
