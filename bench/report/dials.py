"""Tables of a study with dials: effects of components at each position, verdicts on predictions.

The effect of a component is the score of the complete method minus that of the row without it. The
rules are those of `docs/preregistration.md`. Notes give the number of missing runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.markup import Cell, Summary, difference_text, percent
from bench.report.summary import NONE, mean_text
from bench.report.table import columns_of
from bench.stats.dials import Measured, moved, slopes
from bench.stats.effects import LEVEL, METRICS, counts_by_row
from bench.tasks.score_map import AFTER, BEFORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.runs.record import RunRecord
    from bench.runs.store import Store
    from bench.stats.dials import Moved, Slope
    from bench.studies.dial import Dial
    from bench.studies.study import Study

COLUMNS = (
    *("study", "dial", "order", "position", "variant", "task", "metric", "score", "difference"),
    *("low", "high", "p_value", "p_holm", "predicted", "seeds", "images"),
)
"""Columns of `results/tables/<study>_dials.csv`; scores and differences are fractions."""
SLOPE_COLUMNS = (
    *("study", "dial", "variant", "towards", "task", "slope", "low", "high", "p_value", "p_holm"),
    *("verdict", "seeds"),
)
"""Columns of `results/tables/<study>_slopes.csv`; slopes are fractions per position."""
NOTE = (
    "Positions: Δ is the whole method minus the row of the column, in points, paired by seed and "
    "image, with a 95 % interval over both; at each position the noise of the seeds is pooled over "
    "its rows. At each position the control and the row that the prediction names (in bold) are "
    "tested: * p < 0.05 after Holm's correction over the tested differences of a dial, task and "
    "metric. The other differences are estimates without a test. Training images are redrawn for "
    "each seed, so the variance over seeds includes that of the training images."
)
SLOPE_NOTE = (
    "Slope: change of the named effect in points from one position to the next in the predicted "
    "direction, by least squares. Confirmed or contradicted: p < 0.05 after Holm's correction over "
    "all dials of a task; undecided otherwise, and open with fewer seeds than planned. The verdict "
    "on a prediction is that of the dial's first task."
)
CHAIN_NOTE = (
    "The chain at the centre: mIoU of the score map alone, before and after training, and of what "
    "the network makes of it, in percent, mean ± standard deviation over seeds."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialReport:
    """The results of a study with dials."""

    tables: tuple[Summary, ...] = ()
    rows: tuple[dict[str, object], ...] = ()
    """CSV rows with the columns `COLUMNS`."""
    slopes: tuple[dict[str, object], ...] = ()
    """CSV rows with the columns `SLOPE_COLUMNS`."""
    notes: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    """A sentence per dial, and one about missing runs."""


def dial_report(
    study: Study, centre: Sequence[RunRecord], places: Mapping[str, Sequence[RunRecord]],
    store: Store,
) -> DialReport:  # fmt: skip
    """Return the results at all positions; empty for a study without dials.

    `centre` has the records at the centre, `places` those of each position by its preset.
    """
    if study.dials is None:
        return DialReport()
    counts = {preset: counts_by_row(records, store) for preset, records in places.items()}
    measured = Measured(study.dials, centre[0].preset, counts)
    found, lines = moved(measured), slopes(measured, len(study.seeds))
    places_of = [(each.task, each.metric) for each in found]
    tables = [_table(study, found, *place) for place in dict.fromkeys(places_of)]
    chain = _chain(study, centre)
    missing = _missing(study, measured)
    return DialReport(
        tables=(*tables, *_slope_table(study, lines), *chain),
        rows=tuple(_row(study, each) for each in found),
        slopes=tuple(_slope_row(study, each) for each in lines),
        notes=(NOTE, SLOPE_NOTE, *([CHAIN_NOTE] if chain else []), *missing),
        said=(*(_sentence(each) for each in lines if each.task == each.dial.tasks[0]), *missing),
    )


def _table(study: Study, found: Sequence[Moved], task: str, metric: str) -> Summary:
    """A line per position, a column per row with which the complete method is compared."""
    assert study.dials is not None
    mine = [each for each in found if (each.task, each.metric) == (task, metric)]
    others = study.dials.rows[1:]
    lines: dict[tuple[str, str], dict[str, Moved]] = {}
    for each in mine:
        lines.setdefault((each.dial.name, each.position.label), {})[each.row] = each
    rows: list[list[str | Cell]] = []
    for (dial, label), line in lines.items():
        first = next(iter(line.values()))
        cells = (_cell(line.get(row)) for row in others)
        head = (f"{_plain(dial)}: {label}", percent(first.score))
        rows.append([*head, *cells, str(first.difference.seeds)])
    return Summary.of(
        f"Study {study.name}: effects on {task}, points of {METRICS[metric]}",
        ("dial, position", f"{study.dials.rows[0]} %", *(f"Δ {row}" for row in others), "n"),
        rows,
    )


def _cell(each: Moved | None) -> Cell:
    if each is None:
        return Cell(NONE)
    text = difference_text(each.difference) + "*" * (each.p_holm < LEVEL)
    return Cell(text, best=each.row == each.dial.gains)


def _slope_table(study: Study, lines: Sequence[Slope]) -> list[Summary]:
    if not lines:
        return []
    rows = [
        (
            _plain(each.dial.name), each.dial.gains, _end(each.dial), each.task,
            difference_text(each.difference, digits=2), f"{each.p_holm:.3g}", each.verdict,
            str(each.difference.seeds),
        )
        for each in lines
    ]  # fmt: skip
    headers = ("dial", "effect of", "rises towards", "task", "slope [95 %]", "p, Holm", "verdict",
               "n")  # fmt: skip
    title = f"Study {study.name}: do the effects rise as predicted?"
    return [Summary.of(title, headers, rows)]


def _chain(study: Study, records: Sequence[RunRecord]) -> list[Summary]:
    """Scores of the score map and the masks at the centre; empty if no score map was scored."""
    assert study.dials is not None
    done = [record for record in records if record.status == "ok"]
    tasks = list(dict.fromkeys(task for record in done for task in record.metrics))
    columns = {
        f"{task}\n{name}": (task, metric)
        for task in tasks
        for name, metric in (
            ("score map before", BEFORE), ("score map after", AFTER), ("network", "miou"),
        )
        if any(metric in record.metrics.get(task, {}) for record in done)
    }  # fmt: skip
    if not any(metric == AFTER for _, metric in columns.values()):
        return []
    rows = []
    for name in (*study.dials.rows, *study.dials.beside):
        mine = [record.metrics for record in done if record.variant == name]
        cells = [
            mean_text([m[task][metric] for m in mine if metric in m.get(task, {})])
            for task, metric in columns.values()
        ]
        if mine:
            rows.append((name, *cells, str(len(mine))))
    title = f"Study {study.name}: from the score map to the masks, at the centre"
    return [Summary.of(title, ("variant", *columns, "n"), rows)]


def _missing(study: Study, measured: Measured) -> list[str]:
    """A sentence with the number of missing runs of each dial; empty if none is missing."""
    assert study.dials is not None
    parts = []
    for dial in study.dials.dials:
        planned = {
            (each.preset(measured.centre), row, seed)
            for each in dial.positions
            for row in study.dials.rows_at(each)
            for seed in study.seeds
        }
        lacking = [
            run for run in planned if run[2] not in measured.counts.get(run[0], {}).get(run[1], {})
        ]
        if lacking:
            parts.append(f"{_plain(dial.name)} {len(lacking)} of {len(planned)}")
    return [f"Runs that are missing: {', '.join(parts)}."] if parts else []


def _sentence(each: Slope) -> str:
    return (
        f"{_plain(each.dial.name)}: the effect of the part removed in {each.dial.gains} was "
        f"predicted to rise towards {_end(each.dial)}; slope "
        f"{difference_text(each.difference, digits=2)} points per position "
        f"on {each.task}: {each.verdict}."
    )


def _end(dial: Dial) -> str:
    return dial.positions[0 if dial.towards == "first" else -1].label


def _plain(name: str) -> str:
    return name.replace("-", " ")


def _row(study: Study, each: Moved) -> dict[str, object]:
    return {
        "study": study.name,
        "dial": each.dial.name,
        "order": each.dial.positions.index(each.position) + 1,
        "position": each.position.label,
        "variant": each.row,
        "task": each.task,
        "metric": each.metric,
        "score": each.score,
        **columns_of(each.difference),
        "p_holm": each.p_holm,
        "predicted": "yes" if each.row == each.dial.gains else "no",
    }


def _slope_row(study: Study, each: Slope) -> dict[str, object]:
    return {
        "study": study.name,
        "dial": each.dial.name,
        "variant": each.dial.gains,
        "towards": each.dial.towards,
        "task": each.task,
        "slope": each.difference.estimate,
        **columns_of(each.difference),
        "p_holm": each.p_holm,
        "verdict": each.verdict,
    }
