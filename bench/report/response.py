"""Scores of several methods against the amount of error in their input: a study's `responses`.

Each point is compared with the score that the study names for it, paired by seed and image. A
difference counts if its 95 % interval excludes 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report.markup import Summary, percent, signed_interval
from bench.report.summary import NONE
from bench.report.table import columns_of, place_of
from bench.stats.effects import difference_of, runs_on
from bench.stats.statistics import pooled_miou

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bench.runs.record import RunRecord
    from bench.stats.effects import RowCounts
    from bench.studies.study import Point, Study

COLUMNS = (
    *("study", "preset", "response", "axis", "curve", "x", "variant", "task", "against"),
    *("against_task", "miou", "precision", "coverage", "difference", "low", "high", "seeds"),
    "images",
)
"""Columns of `results/tables/<study>_response.csv`; scores and differences are fractions."""
NOTE = (
    "Precision: share of the pixels with a class that have the right one. Coverage: share of the "
    "annotated class pixels that have theirs. Δ: difference in points, paired by seed and image, "
    "with a 95 % interval over both, uncorrected; `above 0` and `below 0` say where the whole "
    "interval is, by the rule of `docs/statistics.md`."
)


def response_rows(
    study: Study, records: Sequence[RunRecord], counts: RowCounts
) -> list[dict[str, object]]:
    """Return one row per panel, curve and value that was run."""
    found = []
    for response in study.responses:
        for curve in response.curves:
            for point in curve.points:
                row = _row(point, counts)
                if row is not None:
                    place = place_of(study, records, point.task)
                    head = {"response": response.name, "axis": response.label, "curve": curve.name}
                    found.append({**place, **head, **row})
    return found


def response_tables(rows: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """Return one table per panel, with a line per value and curve."""
    panels = dict.fromkeys(row["response"] for row in rows)
    return [_table([row for row in rows if row["response"] == name]) for name in panels]


def readings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence per panel and curve: the values with a difference above or below 0."""
    found = []
    for panel, curve in dict.fromkeys((row["response"], row["curve"]) for row in rows):
        where: dict[str, list[str]] = {}
        for row in rows:
            if (row["response"], row["curve"]) == (panel, curve) and row["low"] is not None:
                where.setdefault(_side(row), []).append(f"{row['x']:g}")
        if where:
            parts = (f"{side} at {', '.join(values)}" for side, values in where.items())
            found.append(f"{panel}, {curve}: {'; '.join(parts)}.")
    return found


def _row(point: Point, counts: RowCounts) -> dict[str, object] | None:
    """Score and difference of a point; None if it was not run."""
    runs = runs_on(counts, point.row, point.task)
    if not runs:
        return None
    others = runs_on(counts, point.against, point.against_task)
    itself = (point.row, point.task) == (point.against, point.against_task)
    difference = None if itself else difference_of(runs, others)
    stacked = np.stack(list(runs.values()))
    precision, coverage = precision_and_coverage(stacked)
    return {
        "x": point.x,
        "variant": point.row,
        "against": point.against,
        "against_task": point.against_task,
        "miou": float(pooled_miou(stacked).mean()),
        "precision": precision,
        "coverage": coverage,
        **columns_of(difference),
        "seeds": len(runs),
        "images": stacked.shape[1],
    }


def precision_and_coverage(counts: NDArray[np.integer]) -> tuple[float, float]:
    """Fractions of right pixels among the predicted and the annotated foreground pixels.

    Counts are (..., K, 3), background first: intersection, predicted, annotated. NaN if there is
    no predicted or annotated foreground pixel.

    Example:
        >>> precision_and_coverage(np.array([[[9, 9, 9], [1, 4, 2]]]))
        (0.25, 0.5)
    """
    right, predicted, annotated = counts[..., 1:, :].reshape(-1, 3).sum(axis=0).tolist()
    return (
        right / predicted if predicted else math.nan,
        right / annotated if annotated else math.nan,
    )


def _side(row: Mapping[str, Any]) -> str:
    """Whether the interval of a difference is above 0, below 0, or includes 0."""
    return "above 0" if row["low"] > 0 else "below 0" if row["high"] < 0 else "includes 0"


def _table(rows: Sequence[Mapping[str, Any]]) -> Summary:
    first = rows[0]
    order = sorted(rows, key=lambda row: row["x"])
    headers = (
        *(first["axis"], "method", "mIoU %", "precision %", "coverage %", "Δ [95 %]"),
        "interval",
    )
    return Summary.of(f"Study {first['study']}: {first['response']}", headers, map(_texts, order))


def _texts(row: Mapping[str, Any]) -> tuple[str, ...]:
    scores = (row[name] for name in ("miou", "precision", "coverage"))
    head = (f"{row['x']:g}", row["curve"], *map(percent, scores))
    tail = ("compared with", NONE)
    if row["low"] is not None:
        ends = (row[name] for name in ("difference", "low", "high"))
        tail = (signed_interval(*ends, digits=1), _side(row))
    elif row["variant"] != row["against"] or row["task"] != row["against_task"]:
        tail = (NONE, NONE)
    return (*head, *tail)
