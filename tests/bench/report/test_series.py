"""Curves of a study: from its records and effects, and drawn from their file alone."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from bench.report.build import render, stale_files, write
from bench.report.figures.figure import fingerprint
from bench.report.figures.series import draw_series
from bench.report.series import COLUMNS, series_rows
from bench.report.table import rows_csv
from bench.runs.store import Store
from bench.stats.effects import counts_by_row, effects
from tests.bench.fake import STUDY, make_records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("results"))
    make_records(store, seeds=(0, 1))
    return store


def test_rows_hold_means_paired_differences_and_the_reference(store: Store) -> None:
    records = store.read_all("fake", [row.name for row in STUDY.rows])
    found = effects(STUDY, records, counts_by_row(records, store))
    rows = series_rows(STUDY, records, found)
    frame = pd.read_csv(StringIO(rows_csv(rows, COLUMNS)), keep_default_na=False)
    assert tuple(frame.columns) == COLUMNS
    assert frame[["variant", "role", "x"]].to_numpy().tolist() == [
        ["shallow", "variant", 1], ["full", "reference", 3],
    ]  # fmt: skip
    scores = [
        record.metrics["pseudo-mask-train"]["miou"]
        for record in records
        if record.variant == "shallow"
    ]
    assert float(frame["miou"][0]) == pytest.approx(sum(scores) / 2)
    effect = next(e for e in found if e.contrast.variant == "shallow" and e.metric == "miou")
    assert float(frame["low"][0]) == effect.difference.low
    assert frame["low"][1] == ""
    assert list(frame["seeds"]) == [2, 2]


def test_a_curve_needs_the_reference_and_another_row(store: Store) -> None:
    records = store.read_all("fake", ["full", "no-adapter"])
    assert series_rows(STUDY, records, effects(STUDY, records, counts_by_row(records, store))) == []
    assert series_rows(replace(STUDY, series=()), records, []) == []


def test_the_figure_shows_axis_values_and_reference(store: Store) -> None:
    records = store.read_all("fake", ["full", "shallow"])
    found = effects(STUDY, records, counts_by_row(records, store))
    text = rows_csv(series_rows(STUDY, records, found), COLUMNS)
    svg = draw_series(text, format_="svg").decode()
    assert svg.encode() == draw_series(text, format_="svg")
    assert fingerprint(text) in svg
    assert fingerprint(text).encode() in draw_series(text, format_="png")
    for word in ("layers", "mIoU (%)", "reference", "n = 2 seeds × 12 images", "95 % interval"):
        assert word in svg


@pytest.mark.usefixtures("quick_draw")
def test_another_axis_makes_the_figure_stale(store: Store, tmp_path: Path) -> None:
    there = Store(tmp_path)
    for record in store.read_all("fake", ["full", "shallow"]):
        there.write(record, store.counts(record))
    write(render(STUDY, there), there)
    (depth,) = STUDY.series
    renamed = replace(STUDY, series=(replace(depth, label="blocks"),))
    names = ["tables/fake_series.csv", "figures/fake_series.svg", "figures/fake_series.png"]
    assert stale_files(render(renamed, there), there) == names
