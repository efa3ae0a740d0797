"""One cell of the grid of maps x refinements, as a value, and what is trained on its masks.

What a cell holds are values with a `build` method (`weakclip/stages/protocols.py`), so the harness
knows no method by name. WeakCLIP itself sits in the refinement as its configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from weakclip.data.formats.from_files import FromFiles
from weakclip.description import IMPLIED
from weakclip.stages.refine import OTSU, Keep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.selection.rules import Rule
    from bench.studies.tags import WrongTags
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
    """In the place of maps or of a retraining: those of the preset which the study is run with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Masks or maps that were made elsewhere, in the place of a source of maps."""

    what: Literal["masks", "maps"]
    folder: Path
    """A description has its name only."""
    sha256: str
    """Of the names and bytes of the files that are used: other files are another configuration."""
    citation: str = ""

    @property
    def maps(self) -> FromFiles:
        """The folder as a source of maps."""
        return FromFiles(folder=self.folder)

    @property
    def row(self) -> MethodRow:
        """Masks as they are; maps with the background of Otsu's threshold."""
        return MethodRow(cam=self, refinement=Keep(background=OTSU))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """WeakCLIP in the state of its training that a rule chooses."""

    config: WeakCLIPConfig
    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled:
    """WeakCLIP trained on the annotation with errors and gaps of a chosen amount: an oracle."""

    config: WeakCLIPConfig
    precision: float
    """Share of right labels among the decided pixels."""
    coverage: float
    """Share of decided pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """Whose class activation maps, and what is made of them: a row of a grid."""

    described_as: ClassVar[str] = "Method"
    """Records called it so before the library had a value of that name."""

    cam: MapSource | Outside | GroundTruth | OfPreset
    refinement: RefinementSpec | WeakCLIPConfig | Selection | Spoiled | GroundTruth
    retraining: Retraining | OfPreset | None = field(default=None, metadata={IMPLIED: None})
    """What is trained on the masks and scored on `val`; absent: the refinement itself, if it can
    label images without tags."""
    finish: Literal["crf", "none"] = field(default="crf", metadata={IMPLIED: "crf"})
    """What the masks that are retrained on go through: the preset's dense CRF, or nothing."""
    tags: WrongTags | None = field(default=None, metadata={IMPLIED: None})
    """Mistakes of the tags that the method is given; none: those of the data set."""

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


def outside_of(config: object) -> Outside | None:
    """What a row brought in; none if its method is run here."""
    cam = config.cam if isinstance(config, MethodRow) else None
    return cam if isinstance(cam, Outside) else None


def recorded_outside(config: Mapping[str, Any]) -> Outside | None:
    """What the configuration of a record brought in; none if its method was run here."""
    cam = config.get("cam")
    if not isinstance(cam, dict) or cam.get("kind") != Outside.__name__:
        return None
    parts = {name: value for name, value in cam.items() if name != "kind"}
    return Outside(**{**parts, "folder": Path(parts["folder"])})


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
