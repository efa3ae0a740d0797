"""Validity of CartoonVOC: does it order methods as published results on photographs do?

There are three tests (`docs/preregistration.md`): the published order, the signs of published
gains, and the rank correlation. No choice depends on them. They apply to CartoonVOC only, whose
purpose requires them to hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from bench.cartoon.write import FORMAT
from bench.errors import BenchError
from bench.report.markup import Summary, percent, signed_interval
from bench.report.reference import FILE, read_reference
from bench.report.table import columns_of
from bench.stats.effects import difference_of, runs_on, stacked_counts
from bench.stats.statistics import pooled_miou, resample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.runs.record import RunRecord
    from bench.stats.effects import Counts, RowCounts
    from bench.stats.statistics import Difference
    from bench.studies.study import Study
    from bench.studies.validity import Counterpart

NAME = "validity"
COLUMNS = ("test", "first", "second", "published", "here", "low", "high", "agrees", "methods")
"""Columns of `results/tables/validity.csv`; values are fractions of mIoU, differences of these, or
a rank correlation."""
DRAWS = 2000
"""Bootstrap draws of the rank correlation."""
FEW = 10
"""With fewer methods a note says that the rank correlation is imprecise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidityReport:
    """Tables, CSV rows and notes; all empty if nothing is tested."""

    tables: tuple[Summary, ...] = ()
    rows: tuple[dict[str, object], ...] = ()
    notes: tuple[str, ...] = ()


def validity_report(
    study: Study, records: Sequence[RunRecord], counts: RowCounts, root: Path
) -> ValidityReport:
    """Return the tests of a study that names published counterparts, for the rows that were run.

    The published results are in the results folder, `root`.

    Raises:
        BenchError: If a counterpart does not match exactly one published result.
    """
    if study.validity is None or records[0].provenance.data.get("name") != FORMAT:
        return ValidityReport()
    published = {each.name: published_value(each, root) for each in study.validity.methods}
    runs = {each.name: runs_on(counts, each.row, each.task) for each in study.validity.methods}
    runs = {name: found for name, found in runs.items() if found}
    rows: list[dict[str, object]] = [
        {"test": "method", "first": name, "published": published[name], "here": _score(found)}
        for name, found in runs.items()
    ]
    asked = [("order", better, worse) for worse, better in combinations(study.validity.order, 2)]
    asked += [("gain", *pair) for pair in study.validity.gains]
    for test, first, second in asked:
        value = difference_of(runs.get(first, {}), runs.get(second, {}))
        if value is not None:
            rows.append(_compared(test, (first, second), published, value))
    correlation = rank_correlation({name: published[name] for name in runs}, runs)
    if correlation is not None:
        here, low, high = correlation
        rows.append({
            "test": "rank correlation", "here": here, "low": low, "high": high,
            "methods": len(runs),
        })  # fmt: skip
    missing = [each.name for each in study.validity.methods if each.name not in runs]
    return ValidityReport(
        tables=tuple(_tables(study, rows)),
        rows=tuple({**dict.fromkeys(COLUMNS), **row} for row in rows),
        notes=tuple(_notes(rows, missing)),
    )


def published_value(counterpart: Counterpart, root: Path) -> float:
    """The published mIoU of a counterpart on VOC 2012, a fraction.

    Raises:
        BenchError: If it does not match exactly one line of `reference.csv`.
    """
    wanted = {
        "system": counterpart.system, "dataset": "VOC2012", "split": counterpart.split,
        "metric": "mIoU", "stage": counterpart.stage,
    }  # fmt: skip
    found = [
        row["value"]
        for row in read_reference(root)
        if all(row[name] == value for name, value in wanted.items())
        and row["backbone"].startswith(counterpart.backbone)
    ]
    if len(found) != 1:
        raise BenchError(
            f"{FILE}: expected one line of {counterpart.system!r}, {counterpart.stage}, "
            f"{counterpart.backbone or 'any backbone'}; got {len(found)}"
        )
    return float(found[0]) / 100


def rank_correlation(
    published: Mapping[str, float], runs: Mapping[str, Mapping[int, Counts]]
) -> tuple[float, float, float] | None:
    """Spearman's rank correlation, and its 95 % interval by a bootstrap over images and seeds.

    Takes the published mIoU of each method, and method -> seed -> counts, (N, K, 3). None with
    fewer than three methods or without a common seed.
    """
    cells = stacked_counts([runs[name] for name in published])
    if len(published) < 3 or cells is None:
        return None
    scores = resample(cells, resamples=DRAWS)
    seeds = scores.by_seed.shape[1]
    drawn = np.random.default_rng(0).integers(seeds, size=(seeds, DRAWS))
    again = scores.bootstrap[:, drawn, np.arange(DRAWS)].mean(axis=1)  # (V, S, R) -> (V, R)
    values = list(published.values())
    here = _spearman(values, scores.by_seed.mean(axis=1))
    many = [_spearman(values, draw) for draw in again.T]
    low, high = np.nanquantile(many, (0.025, 0.975))
    return here, float(low), float(high)


def _spearman(first: Sequence[float], second: NDArray[np.float64]) -> float:
    return float(stats.spearmanr(first, second).statistic)


def _score(runs: Mapping[int, Counts]) -> float:
    return float(np.mean([pooled_miou(run) for run in runs.values()]))


def _compared(
    test: str, pair: tuple[str, str], published: Mapping[str, float], value: Difference
) -> dict[str, object]:
    gain = published[pair[0]] - published[pair[1]]
    return {
        "test": test,
        "first": pair[0],
        "second": pair[1],
        "published": gain,
        "here": value.estimate,
        **columns_of(value),
        "agrees": "yes" if gain * value.estimate > 0 else "no",
    }


def _tables(study: Study, rows: Sequence[Mapping[str, Any]]) -> list[Summary]:
    methods = Summary.of(
        f"Study {study.name}: methods with a published figure",
        ("method", "published, VOC 2012 train, mIoU %", "here, mIoU %"),
        (
            (row["first"], percent(row["published"]), percent(row["here"]))
            for row in rows
            if row["test"] == "method"
        ),
    )
    titles = {"order": "the published order", "gain": "the signs of published gains"}
    found = [
        Summary.of(
            f"Study {study.name}: {title}",
            ("difference", "published, points", "here [95 %]", "same sign"),
            (
                (
                    f"{row['first']} minus {row['second']}",
                    f"{100 * row['published']:+.1f}".replace("-", "−"),
                    signed_interval(row["here"], row["low"], row["high"], digits=1),
                    row["agrees"],
                )
                for row in rows
                if row["test"] == test
            ),
        )
        for test, title in titles.items()
    ]
    return [table for table in (methods, *found) if table.rows]


def _notes(rows: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> list[str]:
    notes = []
    for row in rows:
        if row["test"] == "rank correlation":
            here, low, high, count = (row[name] for name in ("here", "low", "high", "methods"))
            notes.append(
                f"Spearman's rank correlation with the published figures over {count} methods: "
                f"{here:.2f} [{low:.2f}, {high:.2f}], a 95 % interval from {DRAWS} draws of images "
                "and seeds"
                + (f"; with fewer than {FEW} methods it says little." if count < FEW else ".")
            )
    for test, name in (("order", "the published order"), ("gain", "published gains")):
        agree = [row["agrees"] == "yes" for row in rows if row["test"] == test]
        if agree:
            notes.append(f"Signs of {name}: {sum(agree)} of {len(agree)} are the same here.")
    notes.append(
        f"Published: `{FILE}`, other images and networks. Nothing is chosen by these tests, and "
        "they stand here whatever comes out (`docs/preregistration.md`)."
    )
    return [*notes, *([f"Not run yet: {', '.join(missing)}."] if missing else [])]
