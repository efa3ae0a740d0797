"""Scores of masks or maps: one function from folders to an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.data.formats.from_files import FromFiles, holds_arrays
from weakclip.data.formats.ids import NamedFiles
from weakclip.data.read.tagged import list_sha256
from weakclip.evaluation import kinds
from weakclip.evaluation.comparison import compare
from weakclip.evaluation.counting import Job, Measure, count_image, each
from weakclip.evaluation.predictions import predictions_of
from weakclip.evaluation.result import Evaluation, Result
from weakclip.evaluation.rules import Fixed, MapRule, Own
from weakclip.evaluation.scores import Absent, mean_iou
from weakclip.evaluation.sweep import Curve, Sweep, curve, swept_counts
from weakclip.evaluation.total import Total
from weakclip.labels import IGNORE
from weakclip.progress import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weakclip.evaluation.predictions import Predictions
    from weakclip.progress import Report


def evaluate(
    *,
    truth: Path | str,
    classes: Sequence[str],
    masks: Path | str | None = None,
    maps: Path | str | FromFiles | None = None,
    rule: MapRule | Sweep | None = None,
    against: Path | str | FromFiles | None = None,
    names: Sequence[str] | None = None,
    measure: Measure | None = None,
    absent: Absent = "union",
    processes: int = 1,
    report: Report = silent,
) -> Evaluation:
    """Score masks, or maps of any format, against ground truth.

    Args:
        truth: Folder of label PNGs: 0 background, c + 1 class c, 255 void.
        classes: Names of the F foreground classes, in label order.
        masks: Folder of predicted label PNGs, or a COCO JSON.
        maps: Folder of maps instead; a `FromFiles` specifies how they are read.
        rule: Rule for the background of maps: `Fixed`, `Power`, `OtsuBand`, `FixedBand`, or `Own`
            (the default), which requires files with a background. A `Sweep` chooses the best fixed
            threshold on the ground truth; its result is marked as an oracle.
        against: A second result for the same images; a folder may hold masks or maps.
        names: The images, with or without suffix; by default all of `truth`.
        measure: Settings of the count.
        absent: How classes without pixels enter the mean.
        processes: Number of processes.
        report: Called with (images done, total images).

    Raises:
        FileNotFoundError: If a folder or file is missing.
        ValueError: If the list or a folder is empty, both or neither of `masks` and `maps` are
            given, or no image can be scored (the message says why for the first one).

    Example:
        >>> evaluation = evaluate(  # doctest: +SKIP
        ...     masks="masks", truth="SegmentationClass", classes=VOC_CLASSES
        ... )
        >>> evaluation.miou, evaluation.result.scores.per_class["iou"]  # doctest: +SKIP
    """
    if (masks is None) == (maps is None):
        raise ValueError("expected masks or maps, one of the two")
    places = [_place(masks, maps=False) if maps is None else _place(maps, maps=True)]
    if isinstance(against, FromFiles):
        places.append(against)
    elif against is not None:
        places.append(_place(against, maps=holds_arrays(Path(against))))
    if rule is not None and not any(isinstance(place, FromFiles) for place in places):
        raise ValueError("a rule puts the background of maps; masks have theirs")
    measure = measure or Measure()
    _check(measure, classes, processes)
    files = NamedFiles.of(Path(truth), (".png",))
    listed = tuple(files.by_name if names is None else names)
    if not listed:
        raise ValueError("expected images to score, got an empty list")
    how = _How(files, listed, tuple(classes), measure, absent, rule, processes, report)
    return how.evaluation([how.side(place) for place in places])


@dataclass(frozen=True, slots=True)
class _How:
    """The settings that both results share."""

    truth: NamedFiles
    names: tuple[str, ...]
    classes: tuple[str, ...]
    measure: Measure
    absent: Absent
    rule: MapRule | Sweep | None
    processes: int
    report: Report

    def side(self, place: Path | FromFiles) -> tuple[Predictions, Curve | None]:
        """The predictions at a place; for a sweep of maps with the best threshold and the curve."""
        source = place if isinstance(place, FromFiles) else None
        path = place.folder if isinstance(place, FromFiles) else place
        rule = self.rule or Own()
        if not isinstance(rule, Sweep):
            return predictions_of(path, self.classes, maps=source, rule=rule), None
        predictions = predictions_of(path, self.classes, maps=source, rule=Fixed(0.0))
        if source is None:
            return predictions, None
        job = self._job(predictions)
        counts = swept_counts(job, rule, self.names, processes=self.processes, report=self.report)
        found = curve(rule, mean_iou(counts, self.absent).tolist())
        best = Fixed(found.thresholds[found.best])
        return predictions_of(path, self.classes, maps=source, rule=best), found

    def evaluation(self, sides: Sequence[tuple[Predictions, Curve | None]]) -> Evaluation:
        """Count all images, for one or two results, and score them."""
        job = self._job(*(predictions for predictions, _ in sides))
        total = Total(job, len(self.names))
        work = each(count_image, job, self.names, processes=self.processes, report=self.report)
        for name, outcome in zip(self.names, work, strict=True):
            total.add(name, outcome)
        for predictions, _ in sides:
            total.affected[kinds.SURPLUS] += predictions.surplus(self.names)
        findings = total.findings()
        if not total.images:
            first = findings[0]
            raise ValueError(
                f"none of {len(self.names)} images can be scored: {first.kind.what}: "
                f"{first.affected[0]}; {first.kind.fix}"
            )
        results = [
            Result(
                what=predictions.describe(),
                scores=total.scores(row),
                sweep=swept,
                diagnosis=total.diagnosis(row, ("background", *self.classes), self.absent),
            )
            for row, (predictions, swept) in enumerate(sides)
        ]
        pair, counts = len(results) == 2, total.counts
        return Evaluation(
            classes=("background", *self.classes),
            measure=self.measure,
            absent=self.absent,
            images=total.images,
            listed=len(self.names),
            list_sha256=list_sha256(self.names),
            truth_sha256=total.digest.hexdigest(),
            result=results[0],
            against=results[1] if pair else None,
            comparison=compare(counts[:, 0], counts[:, 1], absent=self.absent) if pair else None,
            findings=findings,
        )

    def _job(self, *predictions: Predictions) -> Job:
        return Job(
            truth=self.truth,
            predictions=predictions,
            num_classes=len(self.classes) + 1,
            measure=self.measure,
        )


def _place(place: Path | str | FromFiles | None, *, maps: bool) -> Path | FromFiles:
    """A folder of maps as `FromFiles`; a folder of masks as its path."""
    if isinstance(place, FromFiles):
        return place
    path = Path(place or "")
    return FromFiles(folder=path) if maps else path


def _check(measure: Measure, classes: Sequence[str], processes: int) -> None:
    if not 1 <= len(classes) < IGNORE:
        raise ValueError(f"classes: expected 1 to {IGNORE - 1}, got {len(classes)}")
    if not 0 <= measure.ignore <= IGNORE:
        raise ValueError(f"ignore: expected a label from 0 to {IGNORE}, got {measure.ignore}")
    if not all(0 < width < 1 for width in measure.boundary):
        raise ValueError(f"boundary: expected shares of the diagonal, got {measure.boundary}")
    if measure.bands and (list(measure.bands) != sorted({*measure.bands}) or measure.bands[0] < 1):
        raise ValueError(f"bands: expected ascending widths from 1 pixel, got {measure.bands}")
    if processes < 1:
        raise ValueError(f"processes: expected 1 or more, got {processes}")
