"""A method as a value: source of maps, refinement, and the network trained on the masks.

The parts are values with a `build` method (`weakclip/stages/protocols.py`), so the harness knows no
method by name. WeakCLIP is a refinement, given by its configuration.
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
    """The annotated masks of the training split, in place of maps and refinement.

    This is an upper bound: no weakly-supervised method has these masks.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPreset:
    """The maps, or the retraining, of the preset with which the study is run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Masks or maps that were made outside this project, in place of a source of maps."""

    what: Literal["masks", "maps"]
    folder: Path
    """Records hold only its last component, the name of the folder."""
    sha256: str
    """Hash of the names and bytes of the files used: other files make another configuration."""
    citation: str = ""

    @property
    def maps(self) -> FromFiles:
        """The folder as a source of maps."""
        return FromFiles(folder=self.folder)

    @property
    def row(self) -> MethodRow:
        """A row that keeps masks unchanged, and gives maps a background by Otsu's threshold."""
        return MethodRow(cam=self, refinement=Keep(background=OTSU))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """WeakCLIP at the training step that a selection rule chooses."""

    config: WeakCLIPConfig
    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled:
    """WeakCLIP trained on seeds made from the annotation with a set amount of errors: an oracle."""

    config: WeakCLIPConfig
    precision: float
    """Fraction of the labelled pixels whose label is right."""
    coverage: float
    """Fraction of pixels that are labelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """A method of a study: a source of maps, a refinement, and an optional retraining."""

    described_as: ClassVar[str] = "Method"
    """The kind in records; it is older than the library's own class `Method`."""

    cam: MapSource | Outside | GroundTruth | OfPreset
    refinement: RefinementSpec | WeakCLIPConfig | Selection | Spoiled | GroundTruth
    retraining: Retraining | OfPreset | None = field(default=None, metadata={IMPLIED: None})
    """Network trained on the masks and scored on `val`. None: the refinement itself is scored on
    `val`, if it can label images without tags."""
    finish: Literal["crf", "none"] = field(default="crf", metadata={IMPLIED: "crf"})
    """Post-processing of the masks used for retraining: the preset's dense CRF, or none."""
    tags: WrongTags | None = field(default=None, metadata={IMPLIED: None})
    """Simulated mistakes in the tags; None: the tags of the data set."""

    def __post_init__(self) -> None:
        annotated = [isinstance(part, GroundTruth) for part in (self.cam, self.refinement)]
        if any(annotated) and (not all(annotated) or self.retraining is None):
            raise ValueError(
                "row of the ground truth: expected it as maps and as refinement, and a retraining"
            )

    @property
    def is_supervised(self) -> bool:
        """Whether the row uses the annotated masks in place of a method."""
        return isinstance(self.cam, GroundTruth)


def outside_of(config: object) -> Outside | None:
    """The masks or maps from outside that a row uses; None if its method is run here."""
    cam = config.cam if isinstance(config, MethodRow) else None
    return cam if isinstance(cam, Outside) else None


def recorded_outside(config: Mapping[str, Any]) -> Outside | None:
    """As `outside_of`, for the configuration in a record."""
    cam = config.get("cam")
    if not isinstance(cam, dict) or cam.get("kind") != Outside.__name__:
        return None
    parts = {name: value for name, value in cam.items() if name != "kind"}
    return Outside(**{**parts, "folder": Path(parts["folder"])})


Setting = TypeVar("Setting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched(Generic[Setting]):
    """A map source or a refinement, the settings that a search tries, and the one in use."""

    name: str
    settings: Mapping[str, Setting]
    """Name of what differs -> complete configuration; the first is the method's default."""
    chosen: str
    """Key of `settings` that `python -m bench.search.methods` chose; before a search, the first."""

    def __post_init__(self) -> None:
        if self.chosen not in self.settings:
            raise ValueError(
                f"{self.name}: expected a chosen setting among {', '.join(self.settings)}, got "
                f"{self.chosen!r}"
            )
