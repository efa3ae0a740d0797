"""The figures of a study: the data that each is drawn from, and its caption."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.report.figures import (
    confusion,
    diagnosis,
    dials,
    figure,
    interactions,
    response,
    scores,
    series,
)
from bench.stats.effects import main_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.runs.record import RunRecord
    from bench.studies.study import Study


DIAGNOSIS_NAME = "_diagnosis"
"""Suffix of the name of the figure of the costliest errors."""
CONFUSION_NAME = "_confusion_"
"""Separates study and task in the name of a confusion matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One figure: name without suffix, text of its CSV file, caption, and what draws it."""

    name: str
    source: str
    shows: str
    paint: Callable[..., bytes]

    @property
    def mark(self) -> str:
        """The text in the metadata of an up-to-date figure."""
        return figure.fingerprint(self.source)


def draw(drawing: Drawing, format_: str) -> bytes:
    """Return the bytes of a figure in a format."""
    return drawing.paint(drawing.source, format_=format_)


def drawn(figures: Iterable[Drawing]) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files of figures, and the text in the metadata of each; both by path in the results."""
    files, marks = {}, {}
    for each in figures:
        for format_ in figure.FORMATS:
            name = f"figures/{each.name}.{format_}"
            files[name], marks[name] = draw(each, format_), each.mark
    return files, marks


def drawings(
    study: Study, records: Sequence[RunRecord], sources: Mapping[str, str]
) -> list[Drawing]:
    """Return the figures for which there are data.

    `sources` are the texts of the study's CSV files by the suffix of their names.
    """
    tasks, rows = main_tasks(records), [row.name for row in study.rows]
    reference = study.reference.name
    finished = (r for r in records if (r.variant, r.status) == (reference, "ok"))
    reference_tasks = {task for record in finished for task in record.metrics}
    found = []

    def add(suffix: str, source: str, shows: str, paint: Callable[..., bytes]) -> None:
        text = sources[source]
        found.append(Drawing(name=study.name + suffix, source=text, shows=shows, paint=paint))

    def has_rows(source: str) -> bool:
        return sources.get(source, "").count("\n") > 1

    if tasks and has_rows("_effects"):
        add("", "_effects", figure.SHOWS, partial(figure.draw, tasks=tasks))
        crossed = interactions.interaction_tasks(sources["_effects"], tasks)
        if crossed:
            paint = partial(interactions.draw_interactions, tasks=crossed)
            add("_interactions", "_effects", interactions.SHOWS, paint)
    if has_rows("_series"):
        add("_series", "_series", series.SHOWS, series.draw_series)
    if has_rows("_dials"):
        add("_dials", "_dials", dials.SHOWS, dials.draw_dials)
    if has_rows("_response"):
        add("_response", "_response", response.SHOWS, response.draw_response)
    shared = [task for task in tasks if task in reference_tasks]
    if shared:
        by_class = partial(scores.draw_classes, tasks=shared, reference=reference)
        by_cost = partial(scores.draw_cost, tasks=shared, variants=rows)
        add("_classes", "", scores.CLASSES_SHOW, by_class)
        add("_cost", "", scores.COST_SHOWS, by_cost)
    if has_rows("_curves"):
        paint = partial(scores.draw_curves, variants=rows)
        add("_curves", "_curves", scores.CURVES_SHOW, paint)
    if f",{reference}," in sources.get("_diagnosis", ""):
        paint = partial(diagnosis.draw_diagnosis, variant=reference)
        add(DIAGNOSIS_NAME, "_diagnosis", diagnosis.SHOWS.format(variant=reference), paint)
    for task in confusion.confusion_tasks(sources.get("_confusion", "")):
        paint = partial(confusion.draw_confusion, task=task)
        shows = confusion.SHOWS.format(task=task)
        add(f"{CONFUSION_NAME}{task}", "_confusion", shows, paint)
    return found
