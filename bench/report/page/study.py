"""The section of one study: findings, table, figures, classes, runs, protocol."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.report.diagnosis.tables import NOTE as DIAGNOSIS_NOTE
from bench.report.diagnosis.tables import costs_table, groups_table
from bench.report.diagnosis.words import in_words
from bench.report.figures.set import CONFUSION_NAME, DIAGNOSIS_NAME
from bench.report.markup import Cell
from bench.report.page.html import Html, bullets, join, scrolling, sortable, tag
from bench.report.sentences.caption import flat_items
from bench.report.sentences.findings import findings
from bench.report.sentences.verdict import verdict
from bench.report.summary import NONE
from bench.stats.effects import tasks_of
from bench.stats.statistics import spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.report.build import Report
    from bench.report.markup import Summary
    from bench.runs.record import RunRecord

_IDS = re.compile(r'(\bid="|href="#|url\(#)')
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)pt"')

COSTS = 12
"""Number of errors in the table of a row."""
_DENSE = 1.4
"""Enlargement, relative to print, of figures with small numbers."""


def study_section(report: Report, figures: dict[str, tuple[str, str]]) -> Html:
    """Return the section of a study.

    Args:
        report: The report of the study.
        figures: Name of a figure without suffix -> text of its SVG and caption.
    """
    study = report.study
    tables = [report.summary, *report.more]
    matrices = f"{study.name}{CONFUSION_NAME}"
    costs = study.name + DIAGNOSIS_NAME
    plain = {
        name: part
        for name, part in figures.items()
        if not name.startswith(matrices) and name != costs
    }
    return tag(
        "section",
        tag("h2", f"Study {study.name}"),
        tag("p", study.question),
        bullets(report.said or findings(report.records, report.found)),
        *(_table(table, table.title) for table in tables),
        tag("div", *(_figure(name, *part) for name, part in plain.items()), class_="figures"),
        *_costs(report, figures.get(costs)),
        *_confusions(report, {n: part for n, part in figures.items() if n.startswith(matrices)}),
        _details("How to read the table", bullets(report.notes)),
        _details("Every comparison", bullets(verdict(report.records, report.found))),
        *_classes(report.records),
        *(_details(head, _table(table, head)) for head, table in _images(report)),
        _details("Every run", _runs(report.records)),
        _details("Protocol card: how these numbers were made", protocol_card(report.records)),
        id=f"study-{study.name}",
        class_="study",
    )


def protocol_card(records: Sequence[RunRecord]) -> Html:
    """Return protocol, data, weights, code and machine as a table of names and values."""
    first = records[0]
    places = [record.provenance for record in records]
    groups = {
        "protocol": flat_items(first.protocol),
        "data": flat_items(first.provenance.data),
        "weights": flat_items(first.provenance.weights),
        "code": [
            ("commit", _distinct(place.commit for place in places)),
            ("dirty tree", _distinct(place.dirty for place in places)),
            ("command", _distinct(place.command for place in places)),
            ("runs started, UTC", _span([place.started_utc for place in places])),
        ],
        "machine": [
            ("device", _distinct(place.device for place in places)),
            *_merged([flat_items(place.determinism) for place in places]),
        ],
        "versions": _merged([flat_items(place.versions) for place in places]),
    }
    bodies = [_card_group(name, items) for name, items in groups.items() if items]
    caption = f"Study {first.study}, preset {first.preset}"
    return scrolling(tag("table", tag("caption", caption), *bodies, class_="card"), caption)


def _card_group(name: str, items: Sequence[tuple[str, str]]) -> Html:
    head = tag("tr", tag("th", name, scope="rowgroup", colspan=2))
    rows = [tag("tr", tag("th", key, scope="row"), tag("td", text)) for key, text in items]
    return tag("tbody", head, *rows)


def _table(table: Summary, label: str) -> Html:
    """A table with the scores moved to the front, so that they show in a narrow window."""
    columns = range(len(table.headers))
    order = sorted(columns, key=lambda column: column > 0 and "\n" not in table.headers[column])
    headers = [table.headers[column] for column in order]
    rows = [[row[column] for column in order] for row in table.rows]
    return sortable(table.title, headers, rows, label=label)


def _images(report: Report) -> list[tuple[str, Summary]]:
    return [(f"Per image: {table.title.partition(',')[0]}", table) for table in report.images]


def _figure(name: str, svg: str, caption: str, zoom: float = 1.0) -> Html:
    return tag("figure", inline_svg(svg, name, caption, zoom), tag("figcaption", caption))


def _confusions(report: Report, figures: dict[str, tuple[str, str]]) -> list[Html]:
    """The confusions of the reference: in words, and the enlarged matrices."""
    if not figures:
        return []
    drawn = [_figure(name, *part, zoom=_DENSE) for name, part in figures.items()]
    return [
        tag("h3", f"Confusions of {report.study.reference.name}"),
        bullets(report.confusions) if report.confusions else join(),
        tag("div", *drawn, class_="figures"),
    ]


def _costs(report: Report, figure: tuple[str, str] | None) -> list[Html]:
    """The costliest errors of each row: in words, as a table, and the figure of the reference."""
    if not report.diagnoses:
        return []
    name = report.study.name + DIAGNOSIS_NAME
    drawn = [] if figure is None else [_figure(name, *figure, zoom=_DENSE)]
    rows = dict.fromkeys(each.variant for each in report.diagnoses)
    return [
        tag("h3", "Largest losses of mIoU"),
        tag("p", DIAGNOSIS_NOTE.replace("`", "")),
        *(_row_costs(report, row, first=row == next(iter(rows))) for row in rows),
        tag("div", *drawn, class_="figures"),
    ]


def _row_costs(report: Report, row: str, *, first: bool) -> Html:
    """Sentences about a row; for the first row also tables (those of all rows are in the CSV)."""
    mine = [each for each in report.diagnoses if each.variant == row]
    parts = []
    for each in mine:
        parts.append(bullets(in_words(report.records, each)))
        tables = (costs_table(each, COSTS), groups_table(each)) if first else ()
        parts += [_table(table, table.title) for table in tables if table.rows]
    return tag("details", tag("summary", f"Largest losses of {row}"), *parts, open=first)


def inline_svg(svg: str, name: str, label: str, zoom: float = 1.0) -> Html:
    """Return an SVG that can be embedded: its ids start with `name`, and it has a label.

    Args:
        svg: Text of the file.
        name: Name of the drawing; unique in the page.
        label: Alternative text.
        zoom: Largest enlargement relative to print.
    """
    body = _IDS.sub(rf"\g<1>{name}-", _PROLOGUE.sub("", svg))
    found = _SIZE.search(body)
    scale = zoom * 96 / 72  # pixels and points of an inch
    width = f"{scale * float(found[1]):.0f}px" if found else "100%"
    label_attribute = tag("svg", role="img", aria_label=label, style=f"max-width:{width}").text
    attributes = label_attribute.removeprefix("<svg ").removesuffix("></svg>")
    return Html(body.replace("<svg ", f"<svg {attributes} ", 1))


def _details(head: str, *body: Html) -> Html:
    return tag("details", tag("summary", head), *body)


def _classes(records: Sequence[RunRecord]) -> list[Html]:
    """Per task, the IoU of each class and row, averaged over seeds."""
    return [
        _details(f"Per class: {task}", _class_table(records, task))
        for task in tasks_of(records)
        if any(task in record.per_class for record in records)
    ]


def _class_table(records: Sequence[RunRecord], task: str) -> Html:
    scores: dict[str, dict[str, list[float]]] = {}
    variants: dict[str, set[int]] = {}
    for record in records:
        for name, values in record.per_class.get(task, {}).items():
            variants.setdefault(record.variant, set()).add(record.seed)
            scores.setdefault(name, {}).setdefault(record.variant, []).append(values["iou"])
    rows = [_class_row(name, by_variant, list(variants)) for name, by_variant in scores.items()]
    counts = sorted({len(seeds) for seeds in variants.values()})
    caption = (
        f"{task}: IoU of each class in percent, mean over n = {', '.join(map(str, counts))} seeds. "
        "Bold: best of the row; underlined: second."
    )
    return sortable(caption, ["class", *variants], rows, label=f"IoU per class, {task}")


def _class_row(name: str, scores: dict[str, list[float]], variants: Sequence[str]) -> list[Cell]:
    means = {variant: spread(scores[variant]).mean for variant in variants if variant in scores}
    ranked = [*sorted({mean for mean in means.values() if mean == mean}, reverse=True), None, None]
    cells = [
        Cell(
            NONE if means.get(variant) is None else f"{100 * means[variant]:.1f}",
            best=ranked[1] is not None and means.get(variant) == ranked[0],
            second=means.get(variant) is not None and means.get(variant) == ranked[1],
        )
        for variant in variants
    ]
    return [Cell(name), *cells]


def _runs(records: Sequence[RunRecord]) -> Html:
    tasks = tasks_of(records)
    headers = ["run", "status", *(f"{task}\nmIoU %" for task in tasks), "seconds", "commit"]
    rows = [
        [
            Cell(f"{record.variant}, seed {record.seed}"),
            Cell(record.status if record.error is None else f"{record.status}: {record.error}"),
            *(_score(record, task) for task in tasks),
            Cell(f"{sum(record.seconds.values()):.0f}" if record.seconds else NONE),
            Cell((record.provenance.commit or "unknown")[:10]),
        ]
        for record in records
    ]
    return sortable(f"{len(records)} runs", headers, rows, label="Every run")


def _score(record: RunRecord, task: str) -> Cell:
    value = record.metrics.get(task, {}).get("miou")
    return Cell(NONE if value is None else f"{100 * value:.2f}")


def _distinct(values: Iterable[object]) -> str:
    words = {None: "unknown", True: "yes", False: "no"}
    texts = dict.fromkeys(
        words[value] if value is None or isinstance(value, bool) else str(value) for value in values
    )
    return "; ".join(sorted(texts))


def _span(times: Sequence[str]) -> str:
    return f"{min(times)} to {max(times)}" if len(set(times)) > 1 else times[0]


def _merged(items: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Items of several records: one pair per name, with all values that occur."""
    values: dict[str, list[str]] = {}
    for record in items:
        for name, text in record:
            values.setdefault(name, []).append(text)
    return [(name, _distinct(texts)) for name, texts in values.items()]
