"""Tables and figures of a study, made from its records only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report import confusion, contrasts, dials, response, series, validity
from bench.report.diagnosis import tables as diagnosis
from bench.report.drilldown import image_tables
from bench.report.figures.set import drawings, drawn
from bench.report.markup import Summary, latex, markdown
from bench.report.reference import published_section
from bench.report.sentences.caption import caption
from bench.report.summary import summarise, summarise_contours
from bench.report.table import csv_text, curves_frame, effects_frame, rows_csv, tidy
from bench.runs.store import Store, write_atomically
from bench.stats.diagnosis import diagnoses
from bench.stats.effects import counts_by_row, effects
from bench.studies.method import recorded_outside
from bench.studies.preset import study_for
from bench.studies.slots import config_id, plain_config
from bench.studies.study import Variant, with_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.runs.record import RunRecord
    from bench.stats.diagnosis import Diagnosis
    from bench.stats.effects import Effect
    from bench.studies.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of a study, and its generated files by path relative to the results folder."""

    study: Study
    records: tuple[RunRecord, ...]
    found: tuple[Effect, ...]
    summary: Summary
    more: tuple[Summary, ...]
    images: tuple[Summary, ...]
    """Per main task, the worst and best images of the reference."""
    diagnoses: tuple[Diagnosis, ...]
    """The errors of each row on each main task."""
    confusions: tuple[str, ...]
    """Per main task, the largest confusions of the reference in words."""
    notes: tuple[str, ...]
    said: tuple[str, ...]
    """Findings of a study with dials; for other studies they are derived from the effects."""
    files: dict[str, bytes]
    """Path -> content."""
    figures: dict[str, str]
    """Name of a figure without suffix -> caption."""
    marks: dict[str, str]
    """Path of a figure -> text in its metadata if it is up to date."""


def render(study: Study, store: Store) -> Report:
    """Build a study's tables and figures from its records.

    Raises:
        BenchError: If there are no records, a record is broken, has a configuration that the study
            no longer has, or records differ in tasks, preset or conditions.
    """
    study, records = recorded(study, store)
    _check_fair(study, records)
    counts = counts_by_row(records, store)
    found = effects(study, records, counts)
    confused = confusion.confusions(study, records, counts)
    diagnosed = diagnoses(study, records, counts)
    answers = response.response_rows(study, records, counts)
    moved = dials.dial_report(study, records, _places(study, records, store), store)
    rows: dict[str, tuple[Sequence[dict[str, object]], Sequence[str]]] = {
        "_confusion": (confusion.confusion_rows(study, records, confused), confusion.COLUMNS),
        "_series": (series.series_rows(study, records, found), series.COLUMNS),
        "_diagnosis": (diagnosis.cost_rows(study, records, diagnosed), diagnosis.COLUMNS),
        "_rates": (diagnosis.rate_rows(study, records, diagnosed), diagnosis.RATE_COLUMNS),
        "_response": (answers, response.COLUMNS),
        "_dials": (moved.rows, dials.COLUMNS),
        "_slopes": (moved.slopes, dials.SLOPE_COLUMNS),
    }
    sources = {
        "": csv_text(tidy(records)),
        "_effects": csv_text(effects_frame(study, records, found)),
        "_curves": csv_text(curves_frame(records)),
        **{suffix: rows_csv(*each) for suffix, each in rows.items() if each[0]},
    }
    valid = validity.validity_report(study, records, counts, store.root)
    summary, notes = summarise(study, records, found), caption(study, records)
    contours = summarise_contours(study, records, found)
    scores = [summary] if contours is None else [summary, contours]
    terms = contrasts.factorial_tables(study, records, found)
    pairs = contrasts.comparison_tables(study, found)
    responses = response.response_tables(answers)
    read = [response.NOTE, *response.readings(answers)]
    tables: dict[str, tuple[Sequence[Summary], Sequence[str]]] = {
        study.name: ([*moved.tables, *scores], moved.notes),
        validity.NAME: (valid.tables, valid.notes),
        f"{study.name}_factorial": (terms, [contrasts.TERMS_NOTE]),
        f"{study.name}_comparisons": (pairs, [contrasts.PAIRS_NOTE]),
        f"{study.name}_diagnosis": (
            diagnosis.diagnosis_tables(study, diagnosed), [diagnosis.NOTE],
        ),
        f"{study.name}_response": (responses, read),
    }  # fmt: skip
    texts = {f"tables/{study.name}{suffix}.csv": text for suffix, text in sources.items()}
    if valid.rows:
        texts[f"tables/{validity.NAME}.csv"] = rows_csv(valid.rows, validity.COLUMNS)
    rebuilt_by = f"python -m bench report {study.name}"
    for name, (shown, heads) in tables.items():
        if shown:
            for suffix, written in (("md", markdown), ("tex", latex)):
                text = written(shown, [*heads, *notes], rebuilt_by=rebuilt_by)
                texts[f"tables/{name}.{suffix}"] = text
    texts[f"tables/{study.name}.md"] += published_section(store.root, study.published)
    figures = drawings(study, records, sources)
    files, marks = drawn(figures)
    return Report(
        study=study,
        records=tuple(records),
        found=tuple(found),
        summary=summary,
        more=(*moved.tables, *valid.tables, *scores[1:], *responses, *pairs, *terms),
        images=image_tables(study, records, counts),
        diagnoses=tuple(diagnosed),
        confusions=confusion.in_words(records, confused),
        notes=(*moved.notes, *valid.notes, *notes),
        said=moved.said,
        files={**{name: text.encode() for name, text in texts.items()}, **files},
        figures={figure.name: figure.shows for figure in figures},
        marks=marks,
    )


def recorded(study: Study, store: Store) -> tuple[Study, list[RunRecord]]:
    """The study with the network dimensions of its records and with rows from outside; its records.

    Raises:
        BenchError: If a record is broken.
    """
    records = store.read_all(study.name, [row.name for row in study.rows])
    known = {row.name for row in study.rows}
    rows: dict[str, Variant] = {}
    others = dict.fromkeys(variant for _, variant, _ in store.run_ids(study.name))
    for record in store.read_all(study.name, [name for name in others if name not in known]):
        outside = recorded_outside(record.config)
        if outside is not None:
            name, row = record.variant, outside.row
            rows[name] = Variant(name=name, config=row, paper=row)
            records.append(record)
    study = with_rows(study, list(rows.values()))
    return (study_for(study, records[0].preset) if records else study), records


def write(report: Report, store: Store) -> list[Path]:
    """Write a report's files and return their paths."""
    return write_files(report.files, store)


def write_files(files: Mapping[str, bytes], store: Store) -> list[Path]:
    """Write files below the results folder and return their paths."""
    for name, content in files.items():
        write_atomically(store.root / name, content)
    return [store.root / name for name in files]


def stale_files(report: Report, store: Store) -> list[str]:
    """Return the names of a report's files that are missing on disk or do not match the records."""
    return outdated(report.files, report.marks, store)


def outdated(files: Mapping[str, bytes], marks: Mapping[str, str], store: Store) -> list[str]:
    """Return the names of the files that are missing on disk or differ there.

    Files and marks are given by path relative to the results folder. Tables are compared byte by
    byte. Figures are compared by their mark, the text in their metadata, because other versions of
    the plotting library draw the same data with other bytes.
    """

    def is_stale(name: str) -> bool:
        path = store.root / name
        there = path.read_bytes() if path.exists() else b""
        return marks[name].encode() not in there if name in marks else there != files[name]

    return list(filter(is_stale, files))


def _places(
    study: Study, records: Sequence[RunRecord], store: Store
) -> dict[str, Sequence[RunRecord]]:
    """Preset -> records of its position, for all dials of a study.

    Raises:
        BenchError: If a record is broken, or those of a position cannot be compared.
    """
    found: dict[str, Sequence[RunRecord]] = {}
    if study.dials is None or not records:
        return found
    for place in study.dials.places(records[0].preset):
        at = study_for(study, place.preset)
        mine = records
        if at.name != study.name:
            mine = store.read_all(at.name, [row.name for row in study.rows])
        if mine:
            _check_fair(at, mine)
            found[place.preset] = mine
    return found


def _check_fair(study: Study, records: Sequence[RunRecord]) -> None:
    if not records:
        raise BenchError(
            f"study {study.name!r}: expected run records, got none; "
            f"`python -m bench run {study.name}` makes them"
        )
    configs = {row.name: config_id(plain_config(row.config)) for row in study.rows}
    first = next((one for one in records if one.conditions.content), records[0])
    way_out = f"`python -m bench run {study.name} --preset {first.preset}` runs what is missing"
    tasks: dict[str, set[str]] = {}
    for record in records:
        found = set(record.metrics)
        if record.status == "ok" and found != tasks.setdefault(record.variant, found):
            raise BenchError(
                f"{record.run_id}: has scores of the tasks {sorted(found)}, another seed of its "
                f"row of {sorted(tasks[record.variant])}; remove what lacks a task, then {way_out}"
            )
        if record.config_id != configs[record.variant]:
            raise BenchError(
                f"{record.run_id}: expected config {configs[record.variant]}, "
                f"got {record.config_id} of an older study; {way_out}"
            )
        if record.preset != first.preset or not record.conditions.fit(first.conditions):
            raise BenchError(
                f"{record.run_id}: preset {record.preset}, conditions {record.conditions}; "
                f"{first.run_id}: preset {first.preset}, conditions {first.conditions}; "
                f"runs of one table share protocol, data and weights: {way_out}"
            )
