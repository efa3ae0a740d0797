"""Scores against the value of one hyper-parameter, for each of a study's `series`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.table import columns_of, place_of
from bench.stats.effects import main_tasks
from bench.stats.statistics import spread
from bench.studies.study import series_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord
    from bench.stats.effects import Effect
    from bench.studies.study import Series, Study

COLUMNS = (
    *("study", "preset", "series", "axis", "scale", "variant", "role", "x", "task", "split"),
    *("miou", "difference", "low", "high", "seeds", "images"),
)
"""Columns of `results/tables/<study>_series.csv`; scores and differences are fractions."""


def series_rows(
    study: Study, records: Sequence[RunRecord], found: Sequence[Effect]
) -> list[dict[str, object]]:
    """Return one row per series, task and value that was run, sorted by value.

    `miou` is the mean over seeds. `difference` is that to the reference, paired by seed and image;
    `low` and `high` are the ends of its 95 % interval. These three are empty for the reference.
    """
    return [
        row
        for series in study.series
        for task in main_tasks(records)
        for row in _curve(study, series, task, records, found)
    ]


def _curve(
    study: Study, series: Series, task: str, records: Sequence[RunRecord], found: Sequence[Effect]
) -> list[dict[str, object]]:
    """Rows of one series on one task; empty unless the reference and another row were run."""
    reference = study.reference.name
    differences = {
        effect.contrast.variant: effect.difference
        for effect in found
        if (effect.task, effect.metric, effect.contrast.baseline) == (task, "miou", reference)
        and effect.contrast.kind != "cumulative"
    }
    images = max((difference.images for difference in differences.values()), default=0)
    curve: list[dict[str, object]] = []
    for name, x in series_values(study, series).items():
        of_row = [r.metrics[task] for r in records if r.variant == name and task in r.metrics]
        scores = [metrics["miou"] for metrics in of_row]
        difference = differences.get(name)
        if not scores or (difference is None and name != reference):
            continue
        curve.append(
            {
                **place_of(study, records, task),
                "series": series.name,
                "axis": series.label,
                "scale": "log" if series.log else "linear",
                "variant": name,
                "role": "variant" if difference else "reference",
                "x": x,
                "miou": spread(scores).mean,
                **columns_of(difference),
                "seeds": len(scores),
                "images": images,
            }
        )
    roles = {row["role"] for row in curve}
    return curve if roles == {"reference", "variant"} else []
