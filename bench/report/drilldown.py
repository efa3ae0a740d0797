"""The worst and best images of a study's reference, and the row that differs most on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.report.markup import Summary, percent
from bench.report.summary import NONE
from bench.report.table import split_of
from bench.stats.effects import main_tasks, runs_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bench.runs.record import RunRecord
    from bench.stats.effects import Counts, RowCounts
    from bench.studies.study import Study

SHOWN = 20
"""Number of worst and of best images in a table."""


def image_tables(
    study: Study, records: Sequence[RunRecord], counts: RowCounts
) -> tuple[Summary, ...]:
    """Return one table per main task of the reference, worst images first."""
    tables = (_table(study, records, counts, task) for task in main_tasks(records))
    return tuple(table for table in tables if table is not None)


def image_iou(pooled: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean IoU over the classes present in each image: (N, K, 3) counts -> (N,).

    A class is present if it has ground-truth pixels. NaN for an image without any class.

    Example:
        >>> image_iou(np.array([[[3, 4, 5], [1, 2, 1], [0, 9, 0]]])).tolist()
        [0.5]
    """
    intersection, predicted, annotated = np.moveaxis(pooled.astype(np.float64), -1, 0)
    present = annotated > 0
    union = np.where(present, predicted + annotated - intersection, 1.0)
    total, number = np.where(present, intersection / union, 0.0).sum(axis=1), present.sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _table(
    study: Study, records: Sequence[RunRecord], counts: RowCounts, task: str
) -> Summary | None:
    runs = {row.name: runs_on(counts, row.name, task) for row in study.rows}
    reference = study.reference.name
    if not runs[reference]:
        return None
    pooled = {
        name: np.stack(list(each.values())).sum(axis=0, dtype=np.int64)
        for name, each in runs.items()
        if each
    }
    scored = next(r for r in records if r.variant == reference and task in r.per_class)
    scores = {name: image_iou(each) for name, each in pooled.items()}
    own = scores.pop(reference)
    order = [int(image) for image in np.argsort(own, kind="stable") if not np.isnan(own[image])]
    ends = order if len(order) <= 2 * SHOWN else order[:SHOWN] + order[-SHOWN:]
    tags = [_tags(pooled[reference][image], list(scored.per_class[task])) for image in ends]
    split = split_of(records[0], task) or task
    rows = [
        (str(image), names, percent(own[image]), *_other(scores, own, image))
        for image, names in zip(ends, tags, strict=True)
    ]
    shown = f"{SHOWN} worst and {SHOWN} best of" if len(ends) < len(order) else "all"
    return Summary.of(
        f"{task}, {shown} {len(order)} images of {split}, numbered from 0 in the order of "
        f"their list, worst first. IoU: mean over the classes present, pixels summed over "
        f"n = {len(runs[reference])} seeds.",
        (
            *("image", "classes present", f"{reference}\nIoU %"),
            *("differs most\nrow", "differs most\nIoU %", "differs most\nΔ points"),
        ),
        rows,
    )


def _tags(image: Counts, class_names: Sequence[str]) -> str:
    """Foreground classes with ground-truth pixels, from the (K, 3) counts of an image."""
    present = [name for name, row in zip(class_names, image, strict=True) if row[2] > 0]
    return ", ".join(name for name in present if name != class_names[0]) or NONE


def _other(
    scores: Mapping[str, NDArray[np.float64]], own: NDArray[np.float64], image: int
) -> tuple[str, str, str]:
    """Name, score and change of the row that differs most from the reference on an image."""
    if not scores:
        return NONE, NONE, NONE
    name = max(scores, key=lambda name: abs(scores[name][image] - own[image]))
    value = scores[name][image]
    change = f"{100 * (value - own[image]):+.1f}".replace("-", "−")
    return name, percent(value), change
