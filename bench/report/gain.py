"""The gain from the seeds to the final masks, split into plain decoder, components and dense CRF.

The row without any component is the control of the component study: its gain over the seeds is not
a gain of WeakCLIP. The gain is computed from the records of two studies, the seeds and the
components. It needs both, made under the same conditions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.report.markup import difference_text, percent
from bench.report.table import columns_of, rows_csv
from bench.stats.effects import counts_by_row, difference_of, main_tasks, runs_on
from bench.stats.statistics import pooled_miou
from bench.studies.slots import COMPONENTS, OFF_KINDS
from bench.studies.study import MAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.build import Report
    from bench.runs.store import Store
    from bench.stats.effects import Effect, RowCounts
    from bench.stats.statistics import Difference
    from bench.studies.study import Study

SEEDS = "seeds"
"""Name of the study that scores the seeds."""
CRF_SUFFIX = "-crf"
"""Suffix of the names of tasks after the dense CRF."""
COLUMNS = (
    *("row", "task", "against_row", "against_task", "preset", "miou", "difference", "low"),
    *("high", "p_value", "seeds", "images"),
)
"""Columns of `results/tables/gain.csv`; scores and differences are fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The score of a row on a task, and its difference to another step."""

    row: str
    """`study/variant`."""
    task: str
    miou: float
    """Mean over seeds, a fraction."""
    against: Step | None = None
    difference: Difference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """The steps, and the effects of the components."""

    path: tuple[Step, Step, Step, Step]
    """Seeds, plain FPN, all components, dense CRF; each is compared with the step before."""
    refined: tuple[Step, Step]
    """After the dense CRF: the seeds, compared with the seeds before it; and the plain FPN,
    compared with the seeds after it."""
    preset: str
    commits: tuple[str, ...]
    left_out: tuple[Effect, ...]
    """Effects on mIoU of leaving one component out, on the task of the path."""
    contours: Effect | None
    """Effect of all four components together on boundary IoU, on the last main task."""

    @property
    def csv(self) -> str:
        """Text of `tables/gain.csv`."""
        rows = [_csv_row(step, self.preset) for step in (*self.path, *self.refined)]
        return rows_csv(rows, COLUMNS)


def gain(reports: Sequence[Report], store: Store) -> Gain | None:
    """Return the steps from the seeds to the final masks, or None if records are missing.

    `reports` are those of all studies with records.
    """
    by_name = {report.study.name: report for report in reports}
    if not {SEEDS, MAIN} <= by_name.keys():
        return None
    main, start = by_name[MAIN], by_name[SEEDS]
    first, tasks, plain = main.records[0], main_tasks(main.records), control(main.study)
    conditions = [(each.records[0].preset, each.records[0].conditions) for each in (main, start)]
    together = _together(main, plain, tasks[0], "miou")
    if conditions[0] != conditions[1] or together is None:
        return None
    rows = [(start, start.study.reference.name), (main, plain), (main, main.study.reference.name)]
    counts = {
        f"{report.study.name}/{row}": counts_by_row(report.records, store).get(row, {})
        for report, row in rows
    }
    names, task, crf = list(counts), tasks[0], tasks[0] + CRF_SUFFIX
    if not all(runs and all(crf in run for run in runs.values()) for runs in counts.values()):
        return None
    seeds, network, full = (_step(counts, name, task) for name in names)
    network = _compared(counts, network, seeds)
    full = replace(full, against=network, difference=together.difference)
    refined = _compared(counts, _step(counts, names[0], crf), seeds)
    return Gain(
        path=(seeds, network, full, _compared(counts, _step(counts, names[2], crf), full)),
        refined=(refined, _compared(counts, _step(counts, names[1], crf), refined)),
        preset=first.preset,
        commits=tuple(sorted({str(record.provenance.commit)[:8] for record in main.records})),
        left_out=tuple(
            e
            for e in main.found
            if (e.contrast.kind, e.task, e.metric) == ("leave-one-out", task, "miou")
        ),
        contours=_together(main, plain, tasks[-1], "boundary_miou"),
    )


def control(study: Study) -> str:
    """Name of the row in which all four components are off; empty if there is none."""
    off = (
        row.name
        for row in study.rows
        if all(isinstance(getattr(row.config, slot, None), OFF_KINDS) for slot in COMPONENTS)
    )
    return next(off, "")


def sentences(found: Gain) -> tuple[str, str, str]:
    """Return the gains of the plain FPN, of the components and of the CRF, a sentence each."""
    seeds, plain, full, crf = found.path
    refined = found.refined[0]
    return (
        "A plain FPN, trained on the seeds with WeakCLIP's losses and none of its four components, "
        f"lifts the seeds from {percent(seeds.miou)} to {percent(plain.miou)} mIoU: "
        f"{_points(plain)} of the {percent(full.miou - seeds.miou)} points that all of WeakCLIP "
        "gains.",
        f"The four components together add {_points(full)} points of mIoU"
        f"{_one_by_one(found.left_out)}{_contours(found.contours)}.",
        f"A dense CRF adds {_points(crf)}, to {percent(crf.miou)} mIoU; on the seeds alone it adds "
        f"{_points(refined)}, to {percent(refined.miou)}.",
    )


def _step(counts: RowCounts, row: str, task: str) -> Step:
    scores = [float(pooled_miou(run[task])) for run in counts[row].values()]
    return Step(row=row, task=task, miou=float(np.mean(scores)))


def _compared(counts: RowCounts, step: Step, against: Step) -> Step:
    """A step with its paired difference to another; the variance over seeds is that of the pair."""
    one, two = (runs_on(counts, each.row, each.task) for each in (step, against))
    return replace(step, against=against, difference=difference_of(one, two))


def _together(report: Report, plain: str, task: str, metric: str) -> Effect | None:
    """The effect of all components together, from the study's own analysis; None without it.

    The pair may be a named comparison, or the control against the reference, or both; the tested
    one is preferred.
    """
    full, found = report.study.reference.name, []
    for effect in report.found:
        rows = (effect.contrast.variant, effect.contrast.baseline)
        if (effect.task, effect.metric) == (task, metric) and set(rows) == {plain, full}:
            found.append(effect if rows == (full, plain) else _turned(effect))
    return min(found, key=lambda effect: math.isnan(effect.p_holm), default=None)


def _turned(effect: Effect) -> Effect:
    """The effect with the two rows exchanged."""
    value = effect.difference
    turned = replace(value, estimate=-value.estimate, low=-value.high, high=-value.low)
    return replace(effect, difference=turned)


def _csv_row(step: Step, preset: str) -> dict[str, object]:
    against = step.against
    return {
        "row": step.row, "task": step.task, "preset": preset, "miou": step.miou,
        "against_row": against and against.row, "against_task": against and against.task,
        **columns_of(step.difference),
    }  # fmt: skip


def _points(step: Step) -> str:
    return "" if step.difference is None else difference_text(step.difference)


def _one_by_one(effects: Sequence[Effect]) -> str:
    """The range that contains the intervals of all single components."""
    if not effects:
        return ""
    low = 100 * min(effect.difference.low for effect in effects)
    high = 100 * max(effect.difference.high for effect in effects)
    text = f" (left out one at a time: every interval lies within {low:+.1f} and {high:+.1f})"
    return text.replace("-", "−")


def _contours(effect: Effect | None) -> str:
    if effect is None or not effect.is_significant:
        return ""
    better = difference_text(effect.difference, digits=2)
    where = f"unseen images ({effect.task})" if effect.task.startswith("val") else effect.task
    return f" and {better} points of boundary IoU on {where}"
