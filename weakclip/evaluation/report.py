"""An evaluation as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from weakclip.evaluation.scores import SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weakclip.evaluation.result import Evaluation, Result

Json = dict[str, object]
HEADER = ("result", "class_name", "metric", "value")
"""Columns of the CSV. Each row has one number, as a fraction; an empty class is the whole set."""


def to_json(evaluation: Evaluation) -> Json:
    """All numbers as fractions; None where undefined.

    Classes that are neither annotated nor predicted are left out.
    """
    result = _result_json(evaluation, evaluation.result)
    against = evaluation.against
    compared = evaluation.comparison
    return {
        "images": evaluation.images,
        "listed": evaluation.listed,
        "list_sha256": evaluation.list_sha256,
        "truth_sha256": evaluation.truth_sha256,
        "absent": evaluation.absent,
        "measure": asdict(evaluation.measure),
        **result,
        "against": None if against is None else _result_json(evaluation, against),
        "comparison": None if compared is None else _defined(asdict(compared)),
    }


def to_csv(evaluation: Evaluation) -> str:
    """The numbers of an evaluation as CSV with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    for name, result in (("result", evaluation.result), ("against", evaluation.against)):
        if result is not None:
            writer.writerows((name, *row) for row in _numbers(evaluation, result))
    compared = evaluation.comparison
    if compared is not None:
        for metric, value in _defined(asdict(compared)).items():
            writer.writerow(("result - against", "", metric, value))
    return out.getvalue()


def _result_json(evaluation: Evaluation, result: Result) -> Json:
    scores = result.scores
    per_class = {
        name: {metric: _number(values[row]) for metric, values in scores.per_class.items()}
        | dict(zip(("tp", "predicted", "annotated"), scores.counts[row].tolist(), strict=True))
        for row, name in enumerate(evaluation.classes)
        if scores.counts[row].any()
    }
    means = {
        metric: {
            "all": _number(scores.mean(metric)),
            "foreground": _number(scores.mean(metric, foreground=True)),
        }
        for metric in scores.per_class
    }
    swept = result.sweep
    return {
        "what": result.what,
        "oracle": result.oracle,
        "miou": _number(scores.miou_by_absent[evaluation.absent]),
        "miou_by_absent": {rule: _number(value) for rule, value in scores.miou_by_absent.items()},
        **_defined(dict(scores.overall)),
        "means": means,
        "by_size": {
            name: {"miou": _number(scores.by_size[name][0]), "regions": scores.by_size[name][1]}
            for name in SIZES
        },
        "per_class": per_class,
        "sweep": None
        if swept is None
        else {
            "thresholds": list(swept.thresholds),
            "miou": [_number(value) for value in swept.miou],
            "best": swept.thresholds[swept.best],
            "first_peak": swept.thresholds[swept.first_peak],
        },
        "diagnosis": [
            {
                name: _number(value) if isinstance(value, float) else value
                for name, value in asdict(cost).items()
            }
            for cost in result.diagnosis
        ],
    }


def _numbers(evaluation: Evaluation, result: Result) -> Iterator[tuple[str, str, object]]:
    """Class, metric and value for all numbers of a result."""
    scores = result.scores
    for rule, value in scores.miou_by_absent.items():
        yield "", f"miou_{rule}", _number(value)
    for metric, number in scores.overall.items():
        yield "", metric, _number(number)
    for metric in scores.per_class:
        yield "", f"mean_{metric}", _number(scores.mean(metric))
        yield "", f"mean_{metric}_foreground", _number(scores.mean(metric, foreground=True))
    for size, (value, regions) in scores.by_size.items():
        yield "", f"miou_{size}", _number(value)
        yield "", f"regions_{size}", regions
    for row, name in enumerate(evaluation.classes):
        if not scores.counts[row].any():
            continue
        for metric, values in scores.per_class.items():
            yield name, metric, _number(values[row])
        counts = scores.counts[row].tolist()
        yield from zip([name] * 3, ("tp", "predicted", "annotated"), counts, strict=True)
    if result.sweep is not None:
        for threshold, value in zip(result.sweep.thresholds, result.sweep.miou, strict=True):
            yield "", f"oracle_miou_{threshold:g}", _number(value)
    for cost in result.diagnosis:
        for metric in ("gain", "low", "high", "errors", "pixels", "right"):
            name = f"diagnosis: {cost.view}: {cost.name}: {metric}"
            yield "", name, _number(getattr(cost, metric))


def _number(value: float) -> float | None:
    """A number that JSON can represent, None for NaN and infinity; integers stay integers."""
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


def _defined(values: dict[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}
