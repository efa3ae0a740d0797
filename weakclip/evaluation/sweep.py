"""A sweep over background thresholds, the best of which is chosen on the ground truth: an oracle.

Published seeds are often scored at such a threshold, so it is needed for comparison. It is chosen
on the same ground truth that it is scored on. All thresholds are counted in one pass: each pixel is
assigned to the bin of the last threshold that its strongest map exceeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weakclip.evaluation.counting import Job, Trouble, each, truth_of
from weakclip.evaluation.predictions import MapFolder
from weakclip.evaluation.rules import strongest
from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from weakclip.progress import Report


@dataclass(frozen=True, slots=True)
class Sweep:
    """Evenly spaced thresholds from first to last; SEAM's by default."""

    first: float = 0.0
    last: float = 0.59
    step: float = 0.01

    def __post_init__(self) -> None:
        if not (self.step > 0 and self.first <= self.last):
            raise ValueError(f"sweep: expected first <= last and a step above 0, got {self}")

    @property
    def thresholds(self) -> tuple[float, ...]:
        """All thresholds, ascending.

        Example:
            >>> Sweep(0.1, 0.3, 0.1).thresholds
            (0.1, 0.2, 0.3)
        """
        count = round((self.last - self.first) / self.step + 1e-9)
        return tuple(round(self.first + index * self.step, 9) for index in range(count + 1))


def parse_sweep(text: str) -> Sweep:
    """Parse START:STOP:STEP of the command line; a ValueError if the text has another form.

    Example:
        >>> parse_sweep("0:0.6:0.05")
        Sweep(first=0.0, last=0.6, step=0.05)
    """
    try:
        first, last, step = (float(word) for word in text.split(":"))
    except ValueError:
        raise ValueError(f"sweep {text!r}: expected START:STOP:STEP, e.g. 0:0.59:0.01") from None
    return Sweep(first, last, step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """mIoU at every threshold."""

    thresholds: tuple[float, ...]
    miou: tuple[float, ...]
    best: int
    """Index of the largest mIoU, the first one of equals."""
    first_peak: int
    """Index of the last threshold before mIoU first stops rising, where MCTformer and WeakTr
    stop."""


def swept_counts(
    job: Job, sweep: Sweep, names: Sequence[str], *, processes: int, report: Report
) -> NDArray[np.int64]:
    """Counts over all images at T thresholds, (T, K, 3); unusable images count nothing."""
    total = np.zeros((len(sweep.thresholds), job.num_classes, 3), dtype=np.int64)
    work = _Swept(sweep.thresholds)
    for counts in each(work, job, names, processes=processes, report=report):
        total += counts
    return total


def curve(sweep: Sweep, miou: Sequence[float]) -> Curve:
    """The curve of the T scores of a sweep, with its best threshold and first peak."""
    scores = np.nan_to_num(np.asarray(miou, dtype=np.float64), nan=-1.0)
    falls = np.flatnonzero(np.diff(scores) <= 0)
    return Curve(
        thresholds=sweep.thresholds,
        miou=tuple(float(value) for value in miou),
        best=int(scores.argmax()),
        first_peak=int(falls[0]) if len(falls) else len(scores) - 1,
    )


@dataclass(frozen=True, slots=True)
class _Swept:
    """Counts one image at all thresholds; a picklable value, for other processes."""

    thresholds: tuple[float, ...]

    def __call__(self, job: Job, name: str) -> NDArray[np.int64]:
        steps, classes = len(self.thresholds), job.num_classes
        counts = np.zeros((steps, classes, 3), dtype=np.int64)
        found = _strongest_of(job, name)
        if found is None:
            return counts
        strength, winner, truth = found
        limits = np.asarray(self.thresholds, dtype=np.float32)
        bins = np.searchsorted(limits, strength, side="left")  # thresholds below the value
        joint = (bins * classes + winner) * classes + truth
        table = np.bincount(joint, minlength=(steps + 1) * classes**2)
        table = table.reshape(steps + 1, classes, classes)  # bin, winner, truth
        above = table[::-1].cumsum(axis=0)[::-1][1:]  # a class at threshold t: bins beyond t
        below = table.sum(axis=(0, 1)) - above.sum(axis=1)  # background by truth, (T, K)
        counts[..., 0] = above.diagonal(axis1=1, axis2=2)
        counts[..., 1] = above.sum(axis=2)
        counts[:, BACKGROUND, 0] += below[:, BACKGROUND]
        counts[:, BACKGROUND, 1] += below.sum(axis=1)
        counts[..., 2] = table.sum(axis=(0, 1))
        return counts


def _strongest_of(
    job: Job, name: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int64]] | None:
    """Largest value, its label and the ground truth at the annotated pixels, each (P,)."""
    (predictions,) = job.predictions
    if not isinstance(predictions, MapFolder):
        raise TypeError(f"a sweep is of maps, got {predictions.describe()}")
    try:
        truth, _ = truth_of(job, name)
        size = (truth.shape[0], truth.shape[1])
        found = predictions.maps(name, size)
        if found is None and job.measure.missing == "report":
            return None
        labels, maps = found or ((), None)
        strength, winner = strongest(maps, labels, size)
    except (ValueError, Trouble):
        return None
    valid = truth != IGNORE
    return strength[valid], winner[valid], truth[valid].astype(np.int64)
