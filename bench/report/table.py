"""Records as tidy CSV: one measurement per row, constant columns, sorted, full precision.

The same records give the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.runs.store import Store
from bench.studies.study import Study, load_study

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.runs.record import RunRecord
    from bench.stats.effects import Effect
    from bench.stats.statistics import Difference

COLUMNS = (
    *("study", "variant", "task", "split", "preset", "seed", "metric", "class_name", "value"),
    *("unit", "status", "config_id", "commit"),
)
"""Columns of `results/tables/<study>.csv`; `results/README.md` defines them."""

EFFECT_COLUMNS = (
    *("study", "preset", "contrast", "component", "variant", "baseline", "task", "split"),
    *("metric", "difference", "low", "high", "p_value", "p_holm", "df", "variance_seeds"),
    *("variance_images", "seeds", "images"),
)
"""Columns of `results/tables/<study>_effects.csv`; differences are fractions."""

CURVE_COLUMNS = ("study", "variant", "seed", "preset", "step", "metric", "value")
"""Columns of `results/tables/<study>_curves.csv`."""

_SORTED_BY = ["study", "variant", "task", "seed", "metric", "class_name"]
_COUNTED = {"num_classes_scored": "classes"}


def study_frame(study: Study | str, root: Path = Path("results")) -> pd.DataFrame:
    """Return all measurements of a study's records: the content of `tables/<study>.csv`.

    Args:
        study: The study, or the name of one in `ablations/`.
        root: The results folder, with `runs/` in it.

    Returns:
        One measurement per row, with the columns `COLUMNS`. Column `unit` gives the unit of
        `value`; scores are fractions. Without records the frame has no rows.

    Raises:
        BenchError: If there is no such study, or a record is broken.
    """
    found = study if isinstance(study, Study) else load_study(study)
    return tidy(Store(root).read_all(found.name, [row.name for row in found.rows]))


def tidy(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return all measurements of records, but of the per-class scores only IoU."""
    rows = [row for record in records for row in _rows(record)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.sort_values(_SORTED_BY, kind="stable", ignore_index=True)


def effects_frame(
    study: Study, records: Sequence[RunRecord], found: Sequence[Effect]
) -> pd.DataFrame:
    """Return one row per contrast, task and metric, in the order of the study."""
    rows = [
        {
            **place_of(study, records, effect.task),
            **asdict(effect.contrast),
            "contrast": effect.contrast.kind,
            "metric": effect.metric,
            **columns_of(effect.difference),
            "p_holm": effect.p_holm,
        }
        for effect in found
    ]
    return pd.DataFrame(rows, columns=list(EFFECT_COLUMNS))


def curves_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return the logged training steps, one measurement per row."""
    rows = [
        (record.study, record.variant, record.seed, record.preset, int(point["step"]), name, value)
        for record in records
        for point in record.curve
        for name, value in point.items()
        if name != "step"
    ]
    frame = pd.DataFrame(rows, columns=list(CURVE_COLUMNS))
    return frame.sort_values(list(CURVE_COLUMNS[:6]), kind="stable", ignore_index=True)


def csv_text(frame: pd.DataFrame) -> str:
    """Return a frame as CSV; floats are written exactly, NaN is empty."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def place_of(study: Study, records: Sequence[RunRecord], task: str) -> dict[str, object]:
    """The columns of a row about a task that say what was run."""
    first = records[0]
    split = split_of(first, task)
    return {"study": study.name, "preset": first.preset, "task": task, "split": split}


def columns_of(value: Difference | None) -> dict[str, object]:
    """The columns of a difference, `difference` for its estimate; all empty for None."""
    if value is None:
        return dict.fromkeys(("difference", "low", "high"))
    return {"difference": value.estimate, **asdict(value)}


def rows_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> str:
    """Return rows as CSV with the given columns, by default with all that occur."""
    return csv_text(pd.DataFrame(list(rows), columns=None if columns is None else list(columns)))


def split_of(record: RunRecord, task: str) -> str:
    """Return the split on which a task is scored; empty if the protocol does not say."""
    splits = record.protocol.get("splits")
    return str(splits.get(task, "")) if isinstance(splits, dict) else ""


def _rows(record: RunRecord) -> Iterator[dict[str, object]]:
    if record.status == "failed":
        yield _row(record, metric="failed", value=1.0, unit="runs")
        return
    for task, scores in record.metrics.items():
        for metric, value in scores.items():
            unit = _COUNTED.get(metric, "fraction")
            yield _row(record, task=task, metric=metric, value=value, unit=unit)
    for task, classes in record.per_class.items():
        for name, scores in classes.items():
            measured = {"metric": "iou", "class_name": name, "value": scores["iou"]}
            yield _row(record, task=task, unit="fraction", **measured)
    for component, numbers in record.parameters.items():
        for which, number in numbers.items():
            metric = f"parameters.{component}.{which}"
            yield _row(record, metric=metric, value=float(number), unit="parameters")
    for phase, value in record.seconds.items():
        yield _row(record, metric=f"seconds.{phase}", value=value, unit="s")
    if record.peak_memory_mib is not None:
        yield _row(record, metric="peak_memory", value=record.peak_memory_mib, unit="MiB")


def _row(record: RunRecord, *, task: str = "", **measured: object) -> dict[str, object]:
    return {
        "study": record.study,
        "variant": record.variant,
        "task": task,
        "split": split_of(record, task),
        "preset": record.preset,
        "seed": record.seed,
        "class_name": "",
        "status": record.status,
        "config_id": record.config_id,
        "commit": record.provenance.commit or "",
        **measured,
    }
