"""The errors that cost a row most mIoU, with seeds and images as random factors.

`weakclip.evaluation.diagnosis` defines the causes of errors and how correcting one changes the
counts. The intervals are those of all other results. Runs of older code have a single confusion
matrix for all images: a row with such a run has fewer causes, and no intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bench.runs.store import CONFUSION_SUFFIX, cells_name, groups_name
from bench.stats.effects import main_tasks
from bench.stats.statistics import RESAMPLES, Resampled, contrast, pooled_miou
from weakclip.evaluation.causes import CONTOUR, View, causes_of, separate, views_of
from weakclip.evaluation.comparison import draws
from weakclip.evaluation.diagnosis import Cost, measure
from weakclip.evaluation.scores import error_rates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bench.runs.record import RunRecord
    from bench.stats.effects import Counts, RowCounts
    from bench.stats.statistics import Difference
    from bench.studies.study import Study

RATES = ("fp_rate", "fn_rate", "over_activation", "under_activation")
"""Error rates of a class; see `weakclip.evaluation.scores`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The errors of one row on one task."""

    variant: str
    task: str
    class_names: tuple[str, ...]
    """K names, background first."""
    miou: float
    """Mean over seeds, a fraction."""
    costs: tuple[Cost, ...]
    """The costliest first; ends of intervals are NaN for runs of older code."""
    rates: Mapping[str, NDArray[np.float64]]
    """Rate -> value of each class, (K,), mean over seeds."""
    means: Mapping[str, Difference]
    """Rate -> mean over all classes (`fp_rate`, `fn_rate`) or over foreground classes (others)."""
    seeds: int
    images: int

    def of(self, *views: str) -> list[Cost]:
        """The costs of some views."""
        return [cost for cost in self.costs if cost.view in views]


def diagnoses(study: Study, records: Sequence[RunRecord], by_row: RowCounts) -> list[Diagnosis]:
    """Return the diagnosis of every row on every main task on which it was scored."""
    found = []
    for task in main_tasks(records):
        scored = next((r for r in records if task in r.per_class), None)
        for row in study.rows if scored is not None else ():
            runs = [run for _, run in sorted(by_row.get(row.name, {}).items()) if task in run]
            if runs and all(task + CONFUSION_SUFFIX in run for run in runs):
                names = tuple(scored.per_class[task])  # type: ignore[union-attr]
                found.append(_diagnosis(row.name, task, names, runs))
    return found


def _diagnosis(
    variant: str, task: str, names: tuple[str, ...], runs: Sequence[Mapping[str, Counts]]
) -> Diagnosis:
    counts = np.stack([run[task] for run in runs])
    seeds, images = counts.shape[:2]
    rates = error_rates(counts.sum(axis=1, dtype=np.int64))
    return Diagnosis(
        variant=variant,
        task=task,
        class_names=names,
        miou=float(pooled_miou(counts).mean()),
        costs=_costs(task, names, runs, images),
        rates={name: _mean(rates[name], 0) for name in RATES},
        means=_mean_rates(counts),
        seeds=seeds,
        images=images,
    )


def _costs(
    task: str, names: tuple[str, ...], runs: Sequence[Mapping[str, Counts]], images: int
) -> tuple[Cost, ...]:
    whole = all(cells_name(task, CONTOUR) in run for run in runs)
    by_run = [_views(task, run) if whole else _pooled_view(task, run) for run in runs]
    shared = [name for name in by_run[0] if all(name in views for views in by_run)]
    weights = _weights(images) if whole else np.ones((1, 1), dtype=np.int64)
    found = []
    for name in shared:
        views = [each[name] for each in by_run]
        together = replace(views[0], cells=np.concatenate([view.cells for view in views]))
        causes = causes_of(together, names)
        measured = [measure(view, causes, (weights,), len(names)) for view in views]
        for each in zip(*measured, strict=True):
            gain = _estimate(np.stack([one.gain for one in each]), images)
            cause = each[0].cause
            shares = {
                part: float(_mean(np.array([getattr(one, part) for one in each]), 0))
                for part in ("errors", "pixels", "right")
            }
            found.append(
                Cost(view=cause.view, name=cause.name, gain=gain.estimate, low=gain.low,
                     high=gain.high, **shares)
            )  # fmt: skip
    return tuple(sorted(found, key=lambda cost: -cost.gain))


def _pooled_view(task: str, run: Mapping[str, Counts]) -> dict[str, View]:
    """The confusion matrix of all images, as if they were one."""
    matrix = run[task + CONFUSION_SUFFIX]
    truth, predicted = matrix.nonzero()
    zeros = np.zeros_like(truth)
    cells = np.stack([zeros, zeros, truth, predicted, matrix[truth, predicted]], axis=1)
    return {CONTOUR: View(CONTOUR, ("anywhere",), cells)}


def _views(task: str, run: Mapping[str, Counts]) -> dict[str, View]:
    """Name -> view of a run."""
    start = cells_name(task, "")
    found: dict[str, View] = {}
    for name in sorted(name.removeprefix(start) for name in run if name.startswith(start)):
        groups = tuple(str(group) for group in run[groups_name(task, name)])
        view = View(name, groups, run[cells_name(task, name)])
        parts = views_of(view) if name == CONTOUR else separate(view)
        found |= {part.name: part for part in parts}
    return found


@lru_cache(maxsize=4)
def _weights(images: int) -> NDArray[np.int64]:
    """Weights of the images: all ones, then the bootstrap resamples, (1 + R, N)."""
    return np.concatenate([np.ones((1, images), dtype=np.int64), *draws(images, RESAMPLES)])


def _estimate(values: NDArray[np.float64], images: int) -> Difference:
    """Mean and interval of a quantity of S seeds under 1 + R weightings of images, (S, 1 + R)."""
    alone = values.shape[1] == 1
    drawn = np.repeat(values, 2, axis=1) if alone else values[:, 1:]
    scores = Resampled(by_seed=values[None, :, 0], bootstrap=drawn[None], images=max(images, 2))
    found = contrast(scores, (1.0,))
    return replace(found, low=math.nan, high=math.nan) if alone else found


def _mean_rates(counts: Counts) -> dict[str, Difference]:
    """Mean of each rate over classes, from counts (S, N, K, 3)."""
    seeds, images, classes, _ = counts.shape
    weights = _weights(images).astype(np.float64)
    drawn = np.stack([weights @ run.reshape(images, -1).astype(np.float64) for run in counts])
    rates = error_rates(drawn.reshape(seeds, -1, classes, 3))
    return {
        name: _estimate(_mean(rates[name][..., 1 if "activation" in name else 0 :], -1), images)
        for name in RATES
    }


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean without NaN values; NaN if there are no others."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=axis)
    number = known.sum(axis=axis)
    return np.where(number > 0, total / np.maximum(number, 1), math.nan)
