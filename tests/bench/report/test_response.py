"""Curves of methods against how wrong their input is: numbers, readings and the figure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.report.build import render
from bench.report.figures.figure import fingerprint
from bench.report.figures.response import draw_response
from bench.report.markup import markdown_rows
from bench.report.response import COLUMNS, readings, response_rows, response_tables
from bench.report.table import rows_csv
from bench.runs.store import Store
from bench.stats.effects import counts_by_row
from bench.stats.statistics import paired_difference, pooled_miou
from bench.studies.study import Curve, Point, Response
from tests.bench.fake import STUDY, TASKS, make_records

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = TASKS


def point(x: float, row: str, task: str = FIRST, against: str = "no-adapter") -> Point:
    return Point(x=x, row=row, task=task, against=against, against_task=FIRST)


STUDY_WITH = replace(
    STUDY,
    series=(),
    responses=(
        Response(
            name="dropped",
            label="share dropped",
            curves=(
                Curve(
                    name="alone",
                    points=(point(0, "no-adapter"), point(0.5, "shallow", against="shallow")),
                ),
                Curve(
                    name="full",
                    points=(point(0, "full"), point(0.5, "baseline", against="shallow")),
                ),
                Curve(name="after", points=(point(0.5, "no-adapter", SECOND),)),
            ),
        ),
    ),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root: Path = tmp_path_factory.mktemp("results")
    make_records(Store(root), seeds=(0, 1, 2))
    return Store(root)


def rows(store: Store, names: list[str]) -> list[dict[str, object]]:
    records = store.read_all("fake", names)
    return response_rows(STUDY_WITH, records, counts_by_row(records, store))


def test_points_have_their_score_and_their_difference_also_to_another_task(store: Store) -> None:
    found = {(row["curve"], row["x"]): row for row in rows(store, [row.name for row in STUDY.rows])}
    assert list(found) == [("alone", 0), ("alone", 0.5), ("full", 0), ("full", 0.5), ("after", 0.5)]
    counts = counts_by_row(store.read_all("fake", ["no-adapter"]), store)["no-adapter"]
    plain, after = (np.stack([run[task] for run in counts.values()]) for task in TASKS)
    expected = paired_difference(after, plain)
    last = found["after", 0.5]
    assert (last["difference"], last["low"], last["high"]) == (
        expected.estimate, expected.low, expected.high,
    )  # fmt: skip
    assert last["miou"] == pytest.approx(pooled_miou(after).mean())
    right, predicted, annotated = after[:, :, 1:].reshape(-1, 3).sum(0)
    assert (last["precision"], last["coverage"]) == (right / predicted, right / annotated)
    assert found["alone", 0]["low"] is None
    assert (last["seeds"], last["images"]) == (3, 12)


def test_what_is_read_from_a_curve_follows_from_where_its_intervals_are(store: Store) -> None:
    found = rows(store, [row.name for row in STUDY.rows])
    said = readings(found)
    assert said[0] == "dropped, full: above 0 at 0; below 0 at 0.5."
    assert len(said) == 2  # what is compared with itself says nothing
    wide = [{**row, "low": row["low"] and -1.0, "high": row["low"] and 1.0} for row in found]
    assert readings(wide)[0] == "dropped, full: includes 0 at 0, 0.5."
    (table,) = response_tables(found)
    lines = [line.split(" | ") for line in markdown_rows(table)]
    assert [line[1] for line in lines[2:]] == ["alone", "full", "alone", "full", "after"]
    assert lines[2][-2:] == ["compared with", "– |"]
    assert lines[3][-1] == "above 0 |"


def test_rows_that_were_not_run_are_left_out(store: Store) -> None:
    found = rows(store, ["full", "shallow"])
    assert [(row["curve"], row["x"], row["low"]) for row in found] == [
        ("alone", 0.5, None), ("full", 0, None),
    ]  # fmt: skip
    (table,) = response_tables(found)
    assert [cell.text for cell in table.rows[0][-2:]] == ["–", "–"]


@pytest.mark.usefixtures("quick_draw")
def test_the_figure_and_the_files_say_what_they_show(store: Store) -> None:
    text = rows_csv(rows(store, [row.name for row in STUDY.rows]), COLUMNS)
    svg = draw_response(text, format_="svg")
    assert svg == draw_response(text, format_="svg")
    assert fingerprint(text).encode() in draw_response(text, format_="png")
    for word in ("share dropped", "mIoU (%)", "after", "n = 3 seeds × 12 images", "dropped"):
        assert word in svg.decode()
    files = render(STUDY_WITH, store).files
    assert files["tables/fake_response.csv"].decode() == text
    assert "figures/fake_response.svg" in files
    assert b"dropped, full: above 0 at 0; below 0 at 0.5." in files["tables/fake_response.md"]


def test_a_point_of_a_row_that_is_not_there_is_refused() -> None:
    (response,) = STUDY_WITH.responses
    curve = Curve(name="other", points=(point(0, "fulll"),))
    with pytest.raises(ValueError, match="expected points of rows of the study, got fulll against"):
        replace(STUDY_WITH, responses=(replace(response, curves=(curve,)),))
