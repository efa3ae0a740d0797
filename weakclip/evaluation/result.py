"""The result of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weakclip.data.check.finding import Finding
    from weakclip.evaluation.comparison import Comparison
    from weakclip.evaluation.counting import Measure
    from weakclip.evaluation.diagnosis import Cost
    from weakclip.evaluation.scores import Absent, Scores
    from weakclip.evaluation.sweep import Curve


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """Scores of one set of predictions."""

    what: str
    """How the labels were made, e.g. `maps, background 0.3`."""
    scores: Scores
    sweep: Curve | None = None
    """Curve of thresholds, if the best one was chosen on the ground truth (an oracle)."""
    diagnosis: tuple[Cost, ...] = ()
    """Causes of error, the costliest first; empty unless the measure has bands."""

    @property
    def oracle(self) -> bool:
        """Whether the ground truth was used to choose the threshold."""
        return self.sweep is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """The value that `evaluate` returns."""

    classes: tuple[str, ...]
    """K names, background first."""
    measure: Measure
    absent: Absent
    images: int
    """Number of images scored."""
    listed: int
    """Number of images that should have been scored."""
    list_sha256: str
    """Hash of the list of names, one per line."""
    truth_sha256: str
    """Hash of the hashes of the ground-truth files, in the order of the list. Scores are comparable
    only if it is the same."""
    result: Result
    against: Result | None = None
    comparison: Comparison | None = None
    findings: tuple[Finding, ...] = ()
    """Images not scored and why, the most severe first."""

    @property
    def miou(self) -> float:
        """Pooled mean IoU of the result under the rule for absent classes, a fraction."""
        return self.result.scores.miou_by_absent[self.absent]
