"""What an evaluation found, as a value."""

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
    """One folder's scores."""

    what: str
    """How its labels were made, e.g. `maps, background 0.3`."""
    scores: Scores
    sweep: Curve | None = None
    """If the threshold was chosen on the ground truth: then the scores are an oracle's."""
    diagnosis: tuple[Cost, ...] = ()
    """What costs most, the costliest first, if the measure has bands."""

    @property
    def oracle(self) -> bool:
        """Whether the ground truth was looked at before it was scored."""
        return self.sweep is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What `evaluate` found."""

    classes: tuple[str, ...]
    """K names, background first."""
    measure: Measure
    absent: Absent
    images: int
    """That were scored."""
    listed: int
    """That should have been scored."""
    list_sha256: str
    """Of the list's names, one a line."""
    truth_sha256: str
    """Of the hashes of the ground truth's files in this order: two numbers can be compared only if
    it is the same."""
    result: Result
    against: Result | None = None
    comparison: Comparison | None = None
    findings: tuple[Finding, ...] = ()
    """What was not scored and why, the worst first."""

    @property
    def miou(self) -> float:
        """The result's pooled mean IoU by its rule for absent classes, a fraction."""
        return self.result.scores.miou_by_absent[self.absent]
