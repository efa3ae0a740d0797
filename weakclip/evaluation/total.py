"""Sums of the counts of all images, and the images that could not be counted."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from weakclip.data.check.finding import Finding, Kind
from weakclip.evaluation import kinds
from weakclip.evaluation.counting import Counted, Job, Trouble
from weakclip.evaluation.diagnosis import Cost, diagnose
from weakclip.evaluation.scores import Absent, Scores, scores_of
from weakclip.ops.cells import IMAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Total:
    """Sums over images; only the counts of each image are kept."""

    def __init__(self, job: Job, images: int) -> None:
        results, widths = len(job.predictions), job.measure.boundary
        self.widths = widths
        self._bands = job.measure.bands
        self.images = 0
        self._counts = np.zeros((images, results, job.num_classes, 3), dtype=np.int32)
        self.boundary = np.zeros((results, len(widths), job.num_classes, 3), dtype=np.int64)
        self.decided = np.zeros(results, dtype=np.int64)
        self.annotated = 0
        self._cells: list[list[NDArray[np.int32]]] = [[] for _ in range(results)]
        self.digest = hashlib.sha256()
        self.affected: dict[Kind, list[str]] = defaultdict(list)

    @property
    def counts(self) -> NDArray[np.int32]:
        """Counts of the images counted so far, in order, (N, R, K, 3)."""
        return self._counts[: self.images]

    def add(self, name: str, outcome: Counted | Trouble) -> None:
        """Add an image's counts, or the reason why there are none."""
        if isinstance(outcome, Trouble):
            self.affected[outcome.kind].append(outcome.text)
            return
        self._counts[self.images] = outcome.counts
        for kept, cells in zip(self._cells, outcome.cells, strict=False):
            cells[:, IMAGE] = self.images
            kept.append(cells)
        self.images += 1
        self.boundary += outcome.boundary
        self.decided += outcome.decided
        self.annotated += outcome.annotated
        self.digest.update(outcome.digest)
        if outcome.as_background:
            self.affected[kinds.AS_BACKGROUND].append(name)

    def scores(self, row: int) -> Scores:
        """Scores of one of the R results."""
        boundary = dict(zip(self.widths, self.boundary[row], strict=True))
        decided = int(self.decided[row])
        return scores_of(self.counts[:, row], boundary, decided=decided, annotated=self.annotated)

    def diagnosis(self, row: int, class_names: Sequence[str], absent: Absent) -> tuple[Cost, ...]:
        """Diagnosis of one of the R results; empty if no bands were counted."""
        if not self._cells[row]:
            return ()
        cells = np.concatenate(self._cells[row])
        return diagnose(cells, class_names, self.images, widths=self._bands, absent=absent)

    def findings(self) -> tuple[Finding, ...]:
        """One finding per kind that occurred, in the order of `kinds.KINDS`."""
        found = ((kind, tuple(self.affected[kind])) for kind in kinds.KINDS)
        return tuple(Finding(kind=kind, affected=affected) for kind, affected in found if affected)
