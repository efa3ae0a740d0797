"""The figures of a study: the data that each is drawn from, and its caption."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.report.figures.confusion import SHOWS as CONFUSION_SHOWS
from bench.report.figures.confusion import confusion_tasks, draw_confusion
from bench.report.figures.curves import SHOWS as CURVES_SHOW
from bench.report.figures.curves import draw_curves
from bench.report.figures.diagnosis import SHOWS as DIAGNOSIS_SHOWS
from bench.report.figures.diagnosis import draw_diagnosis
from bench.report.figures.dials import SHOWS as DIALS_SHOW
from bench.report.figures.dials import draw_dials
from bench.report.figures.figure import SHOWS as EFFECTS_SHOW
from bench.report.figures.figure import draw as draw_effects
from bench.report.figures.figure import fingerprint
from bench.report.figures.interactions import SHOWS as INTERACTIONS_SHOW
from bench.report.figures.interactions import draw_interactions, interaction_tasks
from bench.report.figures.response import SHOWS as RESPONSE_SHOWS
from bench.report.figures.response import draw_response
from bench.report.figures.scores import CLASSES_SHOW, COST_SHOWS, draw_classes, draw_cost
from bench.report.figures.series import SHOWS as SERIES_SHOW
from bench.report.figures.series import draw_series
from bench.stats.effects import main_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.runs.record import RunRecord
    from bench.studies.study import Study


DIAGNOSIS_NAME = "_diagnosis"
"""Suffix of the name of the figure of the costliest errors."""
CONFUSION_NAME = "_confusion_"
"""Separates study and task in the name of a confusion matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Texts of a study's CSV files; a text is empty if the records have no data for it."""

    scores: str
    """`<study>.csv`."""
    effects: str
    """`<study>_effects.csv`."""
    curves: str
    """`<study>_curves.csv`."""
    confusion: str = ""
    """`<study>_confusion.csv`."""
    series: str = ""
    """`<study>_series.csv`."""
    diagnosis: str = ""
    """`<study>_diagnosis.csv`."""
    rates: str = ""
    """`<study>_rates.csv`."""
    response: str = ""
    """`<study>_response.csv`."""
    dials: str = ""
    """`<study>_dials.csv`."""
    slopes: str = ""
    """`<study>_slopes.csv`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One figure."""

    name: str
    """Name of its files, without suffix."""
    source: str
    """Text of the CSV from which it is drawn."""
    shows: str
    """Caption."""
    paint: Callable[..., bytes]

    @property
    def mark(self) -> str:
        """The text in the metadata of an up-to-date figure."""
        return fingerprint(self.source)


def draw(drawing: Drawing, format_: str) -> bytes:
    """Return the bytes of a figure in a format."""
    return drawing.paint(drawing.source, format_=format_)


def drawings(study: Study, records: Sequence[RunRecord], sources: Sources) -> list[Drawing]:
    """Return the figures for which there are data.

    Args:
        study: The study.
        records: Records of its runs.
        sources: CSV texts from which the figures are drawn.
    """
    tasks, rows = main_tasks(records), [row.name for row in study.rows]
    finished = (r for r in records if (r.variant, r.status) == (study.reference.name, "ok"))
    reference_tasks = {task for record in finished for task in record.metrics}
    found = []

    def add(suffix: str, source: str, shows: str, paint: Callable[..., bytes]) -> None:
        found.append(Drawing(name=study.name + suffix, source=source, shows=shows, paint=paint))

    if tasks and _has_rows(sources.effects):
        add("", sources.effects, EFFECTS_SHOW, partial(draw_effects, tasks=tasks))
        crossed = interaction_tasks(sources.effects, tasks)
        if crossed:
            paint = partial(draw_interactions, tasks=crossed)
            add("_interactions", sources.effects, INTERACTIONS_SHOW, paint)
    if _has_rows(sources.series):
        add("_series", sources.series, SERIES_SHOW, draw_series)
    if _has_rows(sources.dials):
        add("_dials", sources.dials, DIALS_SHOW, draw_dials)
    if _has_rows(sources.response):
        add("_response", sources.response, RESPONSE_SHOWS, draw_response)
    shared = [task for task in tasks if task in reference_tasks]
    if shared:
        by_class = partial(draw_classes, tasks=shared, reference=study.reference.name)
        by_cost = partial(draw_cost, tasks=shared, variants=rows)
        add("_classes", sources.scores, CLASSES_SHOW, by_class)
        add("_cost", sources.scores, COST_SHOWS, by_cost)
    if _has_rows(sources.curves):
        add("_curves", sources.curves, CURVES_SHOW, partial(draw_curves, variants=rows))
    if f",{study.reference.name}," in sources.diagnosis:
        shows = DIAGNOSIS_SHOWS.format(variant=study.reference.name)
        paint = partial(draw_diagnosis, variant=study.reference.name)
        add(DIAGNOSIS_NAME, sources.diagnosis, shows, paint)
    for task in confusion_tasks(sources.confusion):
        shows, paint = CONFUSION_SHOWS.format(task=task), partial(draw_confusion, task=task)
        add(f"{CONFUSION_NAME}{task}", sources.confusion, shows, paint)
    return found


def _has_rows(csv: str) -> bool:
    return csv.count("\n") > 1
