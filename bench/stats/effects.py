"""The effects of a study: which rows are compared, and their differences.

If a study names comparisons, these are tested. In a study of one network every row is also compared
with the reference. Rows that lead to the reference one component at a time are compared with the
row before them, and a factorial study has main effects and interactions. Differences that are not
tested are estimates and have no corrected p-value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from bench.runs.store import BOUNDARY_SUFFIX
from bench.stats.statistics import (
    Difference,
    SeedNoise,
    contrast,
    holm,
    paired_difference,
    pooled_miou,
    resample,
    seed_noise,
)
from bench.studies.factorial import design_of, terms_of
from bench.studies.method import outside_of
from bench.studies.slots import OFF_KINDS, differing_slots
from bench.studies.study import cumulative_path
from weakclip.config import WeakCLIPConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bench.runs.record import RunRecord
    from bench.runs.store import Store
    from bench.studies.factorial import Term
    from bench.studies.study import Study, Variant

ContrastKind: TypeAlias = Literal[
    "named", "leave-one-out", "cumulative", "variant", "main", "interaction"
]
TERMS: frozenset[ContrastKind] = frozenset({"main", "interaction"})
LEVEL = 0.05
METRICS = {"miou": "mIoU", "boundary_miou": "boundary IoU"}
"""Metric -> its printed name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A comparison of two rows: the difference is `variant` minus `baseline`.

    For a main effect these are `with` and `without`, for an interaction `together` and `apart`.
    """

    kind: ContrastKind
    component: str
    """The slots that differ, joined by `+`, or that interact, joined by `×`; for a named comparison
    its name."""
    variant: str
    baseline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A contrast on one task and metric."""

    contrast: Contrast
    task: str
    metric: str
    difference: Difference
    p_holm: float = math.nan
    """p-value corrected over all tests of the study on the same task and metric; NaN: no test."""

    @property
    def is_tested(self) -> bool:
        """Whether the study tests this difference; otherwise it is an estimate."""
        return not math.isnan(self.p_holm)

    @property
    def is_significant(self) -> bool:
        """Whether p < `LEVEL` after Holm's correction; never without a test."""
        return self.p_holm < LEVEL


def contrasts(study: Study) -> list[Contrast]:
    """Return the named comparisons, every row against the reference, and the cumulative steps.

    A study of different methods has no common reference. It has only the named comparisons, and
    the rows from outside against the reference.
    """
    if study.dials is not None:  # their comparisons are made in `bench.stats.dials`
        return []
    found = [
        Contrast(kind="named", component=each.name, variant=variant, baseline=baseline)
        for each in study.comparisons
        for variant, baseline in each.pairs
    ]
    if found and not isinstance(study.reference.config, WeakCLIPConfig):
        outside = [row for row in study.variants if outside_of(row.config) is not None]
        return [*found, *(_against_reference(study, row) for row in outside)]
    found += [_against_reference(study, variant) for variant in study.variants]
    for before, after in pairwise(cumulative_path(study)):
        component = "+".join(differing_slots(after.config, before.config))
        found.append(
            Contrast(
                kind="cumulative", component=component, variant=after.name, baseline=before.name
            )
        )
    return found


def effects(study: Study, records: Sequence[RunRecord], by_row: RowCounts) -> list[Effect]:
    """Return the effects for which there are finished runs, on the seeds that both rows have."""
    tasks = tasks_of(records)
    alike = is_noise_pooled(records)
    noises = {
        array_of(task, metric): _pooled_noise(by_row, array_of(task, metric)) if alike else None
        for task in tasks
        for metric in METRICS
    }
    found = [
        Effect(contrast=pair, task=task, metric=metric, difference=difference)
        for pair in contrasts(study)
        for task in tasks
        for metric in METRICS
        if (difference := _difference(pair, array_of(task, metric), by_row, noises)) is not None
    ]
    return _corrected(study, [*found, *_factorial_effects(study, by_row, tasks, noises)])


def is_noise_pooled(records: Sequence[RunRecord]) -> bool:
    """Whether all rows are variants of WeakCLIP, so that their variance over seeds is pooled.

    Different methods do not have about equal variance: some have no randomness at all. For these
    each pair uses the variance of its own seeds.
    """
    return all(record.config.get("kind") == WeakCLIPConfig.__name__ for record in records)


def tasks_of(records: Sequence[RunRecord]) -> list[str]:
    """Return the tasks of the finished runs, in the order of the records."""
    return list(dict.fromkeys(task for record in records for task in record.metrics))


def main_tasks(records: Sequence[RunRecord]) -> list[str]:
    """Return the tasks whose differences are printed: `main_tasks` of the protocol, or the first.

    A task that no finished run has is left out.
    """
    tasks = tasks_of(records)
    chosen = records[0].protocol.get("main_tasks", tasks[:1]) if records else []
    return [task for task in tasks if isinstance(chosen, list) and task in chosen]


Counts: TypeAlias = "NDArray[np.integer]"
RowCounts: TypeAlias = "Mapping[str, Mapping[int, Mapping[str, Counts]]]"


def counts_by_row(records: Sequence[RunRecord], store: Store) -> RowCounts:
    """Return variant -> seed -> array name -> counts of the finished runs."""
    rows: dict[str, dict[int, dict[str, Counts]]] = {}
    for record in records:
        if record.status == "ok":
            rows.setdefault(record.variant, {})[record.seed] = store.counts(record)
    return rows


def runs_on(by_row: RowCounts, row: str, array: str) -> dict[int, Counts]:
    """Seed -> counts of a row, of the runs that have the array."""
    return {seed: run[array] for seed, run in by_row.get(row, {}).items() if array in run}


def difference_of(
    variant: Mapping[int, Counts], baseline: Mapping[int, Counts], noise: SeedNoise | None = None
) -> Difference | None:
    """Compare the counts of two rows on the seeds that both have; None if there is no such seed.

    `noise` is the variance over seeds pooled over a study, by default that of these two rows.
    """
    stacked = stacked_counts([variant, baseline])
    return None if stacked is None else paired_difference(*stacked, noise=noise)


def stacked_counts(rows: Sequence[Mapping[int, Counts]]) -> list[Counts] | None:
    """Counts of each row on the seeds that all have, (S, N, K, 3); None if there is none."""
    seeds = sorted(set.intersection(*map(set, rows))) if rows else []
    return [np.stack([row[seed] for seed in seeds]) for row in rows] if seeds else None


def _pooled_noise(by_row: RowCounts, array: str) -> SeedNoise | None:
    """The variance over seeds, pooled over all rows that have these counts."""
    rows = [runs_on(by_row, name, array) for name in by_row]
    cells = stacked_counts([runs for runs in rows if runs])
    return None if cells is None else seed_noise(np.stack([pooled_miou(cell) for cell in cells]))


Noises: TypeAlias = "Mapping[str, SeedNoise | None]"


def _factorial_effects(
    study: Study, by_row: RowCounts, tasks: Sequence[str], noises: Noises
) -> list[Effect]:
    """Main effects and interactions of a factorial study whose variants were all run."""
    design = design_of(study)
    if design is None:
        return []
    found = []
    for task in tasks:
        for metric in METRICS:
            array = array_of(task, metric)
            cells = stacked_counts([runs_on(by_row, name, array) for name in design.levels])
            if cells is None:
                continue
            scores = resample(cells)
            found += [
                Effect(
                    contrast=_term_contrast(term),
                    task=task,
                    metric=metric,
                    difference=contrast(
                        scores,
                        [term.weights[name] for name in design.levels],
                        noise=noises[array],
                    ),
                )
                for term in terms_of(design)
            ]
    return found


def _term_contrast(term: Term) -> Contrast:
    if len(term.factors) == 1:
        return Contrast(kind="main", component=term.name, variant="with", baseline="without")
    return Contrast(kind="interaction", component=term.name, variant="together", baseline="apart")


def array_of(task: str, metric: str) -> str:
    """Name of the array of counts from which a metric is computed."""
    return task + BOUNDARY_SUFFIX if metric == "boundary_miou" else task


def _against_reference(study: Study, variant: Variant) -> Contrast:
    slots = differing_slots(variant.config, study.reference.config)
    removed = len(slots) == 1 and isinstance(getattr(variant.config, slots[0]), OFF_KINDS)
    return Contrast(
        kind="leave-one-out" if removed else "variant",
        component="+".join(slots),
        variant=variant.name,
        baseline=study.reference.name,
    )


def _difference(pair: Contrast, array: str, by_row: RowCounts, noises: Noises) -> Difference | None:
    one, two = (runs_on(by_row, name, array) for name in (pair.variant, pair.baseline))
    return difference_of(one, two, noises[array])


def _is_tested(study: Study, contrast: Contrast) -> bool:
    """Whether a study tests a contrast: those it names, or else its terms, or else all."""
    if study.comparisons:
        return contrast.kind == "named"
    return design_of(study) is None or contrast.kind in TERMS


def _corrected(study: Study, found: list[Effect]) -> list[Effect]:
    """Fill in Holm's p-values, corrected over all tests on the same task and metric."""
    tested = [effect for effect in found if _is_tested(study, effect.contrast)]

    def place(effect: Effect) -> tuple[str, str]:
        return effect.task, effect.metric

    p_holm: dict[int, float] = {}
    for _, group in groupby(sorted(tested, key=place), key=place):
        members = list(group)
        values = holm([effect.difference.p_value for effect in members])
        p_holm |= {id(effect): value for effect, value in zip(members, values, strict=True)}
    return [replace(effect, p_holm=p_holm.get(id(effect), math.nan)) for effect in found]
