"""The differences a study is about: which rows are compared, and what came out.

Every row is compared with the reference. Rows that build up to the reference one component at a
time are also compared with the row before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from bench.slots import OFF_KINDS, differing_slots
from bench.statistics import Difference, holm, paired_difference
from bench.store import BOUNDARY_SUFFIX
from bench.study import cumulative_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bench.record import RunRecord
    from bench.store import Store
    from bench.study import Study, Variant

ContrastKind: TypeAlias = Literal["leave-one-out", "cumulative", "variant"]
METRICS = ("miou", "boundary_miou")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two rows: the difference is `variant` minus `baseline`."""

    kind: ContrastKind
    component: str
    """The slots that differ, joined by `+`."""
    variant: str
    baseline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A contrast on one task and metric."""

    contrast: Contrast
    task: str
    metric: str
    difference: Difference
    p_holm: float
    """Corrected over the contrasts of the same family, task and metric."""


def contrasts(study: Study) -> list[Contrast]:
    """Return every row against the reference, then the steps of the cumulative path."""
    found = [_against_reference(study, variant) for variant in study.variants]
    for before, after in pairwise(cumulative_path(study)):
        component = "+".join(differing_slots(after.config, before.config))
        found.append(
            Contrast(
                kind="cumulative", component=component, variant=after.name, baseline=before.name
            )
        )
    return found


def effects(study: Study, records: Sequence[RunRecord], store: Store) -> list[Effect]:
    """Return the contrasts that the finished runs allow, on the seeds both rows have."""
    by_row = counts_by_row(records, store)
    found = [
        Effect(contrast=contrast, task=task, metric=metric, difference=difference, p_holm=np.nan)
        for contrast in contrasts(study)
        for task in tasks_of(records)
        for metric in METRICS
        if (difference := _difference(contrast, task, metric, by_row)) is not None
    ]
    return _corrected(found)


def tasks_of(records: Sequence[RunRecord]) -> list[str]:
    """Return the tasks of the finished runs, in the order of the files."""
    return list(dict.fromkeys(task for record in records for task in record.metrics))


def main_tasks(records: Sequence[RunRecord]) -> list[str]:
    """Return the tasks whose differences are printed: `main_tasks` of the protocol, or the first.

    A task that no finished run has is left out.
    """
    tasks = tasks_of(records)
    chosen = records[0].protocol.get("main_tasks", tasks[:1]) if records else []
    return [task for task in tasks if isinstance(chosen, list) and task in chosen]


Counts: TypeAlias = "NDArray[np.int32]"
RowCounts: TypeAlias = "Mapping[str, Mapping[int, Mapping[str, Counts]]]"


def counts_by_row(records: Sequence[RunRecord], store: Store) -> RowCounts:
    """Return variant -> seed -> array name -> counts of the finished runs."""
    rows: dict[str, dict[int, dict[str, Counts]]] = {}
    for record in records:
        if record.status == "ok":
            rows.setdefault(record.variant, {})[record.seed] = store.counts(record)
    return rows


def difference_of(
    variant: Mapping[int, Mapping[str, Counts]],
    baseline: Mapping[int, Mapping[str, Counts]],
    array: str,
) -> Difference | None:
    """Compare two rows on the seeds both have; none if they share no counts of that name."""
    seeds = sorted(
        seed
        for seed in variant.keys() & baseline.keys()
        if array in variant[seed] and array in baseline[seed]
    )
    if not seeds:
        return None
    return paired_difference(
        np.stack([variant[seed][array] for seed in seeds]),
        np.stack([baseline[seed][array] for seed in seeds]),
    )


def _against_reference(study: Study, variant: Variant) -> Contrast:
    slots = differing_slots(variant.config, study.reference.config)
    removed = len(slots) == 1 and isinstance(getattr(variant.config, slots[0]), OFF_KINDS)
    return Contrast(
        kind="leave-one-out" if removed else "variant",
        component="+".join(slots),
        variant=variant.name,
        baseline=study.reference.name,
    )


def _difference(contrast: Contrast, task: str, metric: str, by_row: RowCounts) -> Difference | None:
    array = task + BOUNDARY_SUFFIX if metric == "boundary_miou" else task
    return difference_of(by_row.get(contrast.variant, {}), by_row.get(contrast.baseline, {}), array)


def _corrected(found: list[Effect]) -> list[Effect]:
    """Fill in Holm's p-values; comparisons with the reference and steps are two families."""

    def family(effect: Effect) -> tuple[bool, str, str]:
        return effect.contrast.kind == "cumulative", effect.task, effect.metric

    p_holm: dict[int, float] = {}
    for _, group in groupby(sorted(found, key=family), key=family):
        members = list(group)
        values = holm([effect.difference.p_value for effect in members])
        p_holm |= {id(effect): value for effect, value in zip(members, values, strict=True)}
    return [
        Effect(
            contrast=effect.contrast,
            task=effect.task,
            metric=effect.metric,
            difference=effect.difference,
            p_holm=p_holm[id(effect)],
        )
        for effect in found
    ]
