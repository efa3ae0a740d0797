"""The main tables of a study: one row per variant, scores in percent.

There are two per study, so that neither is too wide: mIoU, and boundary IoU. They are built from
records only; `bench/report/markup.py` and `bench/report/terminal.py` print them.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, TypeAlias

from bench.report.markup import Cell, Summary, effect_text, percent
from bench.report.sentences.caption import BROUGHT_IN
from bench.stats.effects import METRICS, tasks_of
from bench.stats.statistics import spread
from bench.studies.method import MethodRow, Outside, outside_of
from bench.studies.slots import COMPONENTS, OFF_KINDS, differing_slots, mark, slot_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord
    from bench.stats.effects import Effect
    from bench.studies.study import Study, Variant
    from bench.studies.workbench import Config

NONE = "–"


def summarise(study: Study, records: Sequence[RunRecord], found: Sequence[Effect]) -> Summary:
    """Return the table of a study's mIoU from its records and effects."""
    by_row = {variant.name: _of(records, variant.name) for variant in study.rows}
    rows = list(by_row.values())
    columns: list[Column] = [
        ("variant", list(by_row)),
        *_mark_columns(study),
        ("trainable", list(map(_parameters, rows))),
    ]
    for task in tasks_of(records):
        columns += _score_and_difference(study, rows, found, task, "miou")
        columns += _share_columns(study, by_row, task)
        columns += _oracle_columns(rows, task)
    columns += [
        ("seconds", list(map(_seconds, rows))),
        ("n", [_count(records, name) for name in by_row]),
    ]
    return _joined(f"Study {study.name}: {study.question}", columns)


def summarise_contours(
    study: Study, records: Sequence[RunRecord], found: Sequence[Effect]
) -> Summary | None:
    """Return the table of a study's boundary IoU; None if no run measured it."""
    rows = [_of(records, variant.name) for variant in study.rows]
    tasks = [
        task
        for task in tasks_of(records)
        if any("boundary_miou" in record.metrics.get(task, {}) for record in records)
    ]
    if not tasks:
        return None
    columns: list[Column] = [("variant", [variant.name for variant in study.rows])]
    for task in tasks:
        columns += _score_and_difference(study, rows, found, task, "boundary_miou")
    return _joined(f"Study {study.name}: contours (boundary IoU)", columns)


def varied_slots(study: Study) -> tuple[str, ...]:
    """Return the four components, if the reference has them, then all other slots that differ."""
    reference = study.reference.config
    varied = {slot for row in study.rows for slot in differing_slots(row.config, reference)}
    components = tuple(slot for slot in slot_names(reference) if slot in COMPONENTS)
    return (*components, *sorted(varied - set(components)))


Column: TypeAlias = "tuple[str, Sequence[str | Cell]]"
Runs: TypeAlias = "Sequence[RunRecord]"


def _joined(title: str, columns: Sequence[Column]) -> Summary:
    return Summary.of(
        title, (header for header, _ in columns), zip(*(cells for _, cells in columns), strict=True)
    )


def _mark_columns(study: Study) -> list[Column]:
    reference = study.reference.config

    def text(config: Config, slot: str) -> str:
        value = getattr(config, slot)
        if isinstance(config, MethodRow):
            outside = outside_of(config)
            unused = outside is not None and outside.what == "masks" and value is not outside
            return NONE if unused else _kind(value)
        return mark(value, getattr(reference, slot))

    return [(slot, [text(row.config, slot) for row in study.rows]) for slot in varied_slots(study)]


def _kind(value: object) -> str:
    """The printed name of a part; WeakCLIP without its four components is a plain FPN."""
    if isinstance(value, str):
        return value
    if value is None:
        return NONE
    components = [getattr(value, slot, None) for slot in COMPONENTS]
    if all(isinstance(component, OFF_KINDS) for component in components):
        return "PlainFPN"
    if isinstance(value, Outside):
        return f"{value.what}, {BROUGHT_IN}"
    return type(value).__name__.removesuffix("Config")


def _score_and_difference(
    study: Study,
    rows: Sequence[Runs],
    found: Sequence[Effect],
    task: str,
    metric: str,
) -> list[Column]:
    """The columns of a score on a task and of its difference, if the table shows one."""
    score = _score_column(f"{task}\n{METRICS[metric]} %", rows, task, metric)
    if study.dials is not None:  # its differences have their own tables
        return [score]
    to = f" to {study.comparisons[0].short}" if _is_grid(study) else ""
    differences = [_delta(study, row, found, task, metric) for row in study.rows]
    return [score, (f"{task}\nΔ{to} [95 %]", differences)]


def _share_columns(study: Study, by_row: dict[str, list[RunRecord]], task: str) -> list[Column]:
    """The column of scores in percent of the upper bound's; empty if the bound has no score."""

    def mean(name: str) -> float:
        scores = [run.metrics[task]["miou"] for run in by_row[name] if task in run.metrics]
        return statistics.fmean(scores) if scores else math.nan

    whole = mean(study.bound) if study.bound else math.nan
    if not whole > 0:
        return []
    shares = [mean(row.name) / whole for row in study.rows]
    texts = [NONE if math.isnan(share) else percent(share) for share in shares]
    return [(f"{task}\n% of {study.bound.replace('-', ' ')}", texts)]


def _oracle_columns(rows: Sequence[Runs], task: str) -> list[Column]:
    metrics = dict.fromkeys(
        metric for row in rows for record in row for metric in record.metrics.get(task, {})
    )
    return [
        _score_column(
            f"{task}\n{metric.replace('_', ' ').replace('miou', 'mIoU')} %", rows, task, metric
        )
        for metric in metrics
        if metric.startswith("oracle")
    ]


def _is_grid(study: Study) -> bool:
    """Whether rows are methods without a common reference; Δ is then the first comparison."""
    return bool(study.comparisons) and isinstance(study.reference.config, MethodRow)


def _score_column(header: str, rows: Sequence[Runs], task: str, metric: str) -> Column:
    values = [
        [record.metrics[task][metric] for record in row if metric in record.metrics.get(task, {})]
        for row in rows
    ]
    means = [spread(row).mean if row else math.nan for row in values]
    known = {mean for mean in means if not math.isnan(mean)}
    first, second = [*sorted(known, reverse=True), math.nan, math.nan][:2]
    return header, [
        Cell(
            mean_text(row),
            best=len(known) > 1 and mean == first,
            second=len(known) > 2 and mean == second,
        )
        for row, mean in zip(values, means, strict=True)
    ]


def mean_text(scores: Sequence[float]) -> str:
    """Mean of scores in percent, one per seed, and their standard deviation if there are more."""
    if not scores:
        return NONE
    found = spread(scores)
    return percent(found.mean) + ("" if math.isnan(found.sd) else f" ± {percent(found.sd)}")


def _delta(study: Study, row: Variant, found: Sequence[Effect], task: str, metric: str) -> str:
    """Difference with its interval; * if it is tested and p < 0.05 after Holm's correction.

    A row from outside is compared with the reference, whose name is added.
    """
    outside = _is_grid(study) and outside_of(row.config) is not None
    head = study.comparisons[0].name if _is_grid(study) and not outside else ""
    for effect in found:
        contrast = effect.contrast
        same = (contrast.variant, effect.task, effect.metric) == (row.name, task, metric)
        shown = contrast.component == head if head else contrast.kind not in ("cumulative", "named")
        if same and shown:
            return effect_text(effect) + (f" to {study.reference.name}" if outside else "")
    baselines = {pair[1] for pair in study.comparisons[0].pairs} if head else {study.reference.name}
    return "reference" if row.name in baselines else NONE


def _parameters(row: Runs) -> str:
    if not row or not row[0].parameters:
        return NONE
    number = sum(sizes["trainable"] for sizes in row[0].parameters.values())
    if number == 0:
        return "0"
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.1f} k"


def _seconds(row: Runs) -> str:
    if not row:
        return NONE
    return f"{statistics.median(sum(record.seconds.values()) for record in row):.0f}"


def _count(records: Sequence[RunRecord], variant: str) -> str:
    """Number of finished runs, and of failed ones if there are any."""
    failed = sum((record.variant, record.status) == (variant, "failed") for record in records)
    finished = str(len(_of(records, variant)))
    return f"{finished} ({failed} failed)" if failed else finished


def _of(records: Sequence[RunRecord], variant: str) -> list[RunRecord]:
    """The finished runs of a row."""
    return [record for record in records if record.variant == variant and record.status == "ok"]
