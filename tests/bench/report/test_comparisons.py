"""Tables of named comparisons: a line per pair, a column per task and metric, stars if tested."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.report.build import render
from bench.report.summary import summarise
from bench.runs.store import Store
from bench.studies.method import MethodRow
from bench.studies.preset import load_preset, study_for
from bench.studies.study import Comparisons, load_study
from tests.bench.fake import STUDY, make_records

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = (("full", "no-adapter"), ("shallow", "baseline"))
NAMED = replace(
    STUDY,
    comparisons=tuple(
        Comparisons(name=f"question {n}", short="other", pairs=(pair,))
        for n, pair in enumerate(PAIRS)
    ),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root: Path = tmp_path_factory.mktemp("results")
    make_records(Store(root), seeds=(0, 1))
    return render(NAMED, Store(root)).files


def test_every_pair_has_a_line_below_its_question(files: dict[str, bytes]) -> None:
    text = files["tables/fake_comparisons.md"].decode()
    first, second = text.split("## Study fake: question 1")
    assert "# Study fake: question 0" in first
    assert "| full against no-adapter | +1" in first
    assert "| shallow against baseline | +" in second
    assert "pseudo-mask-train<br>Δ mIoU [95 %]" in first
    assert "pseudo-mask-train<br>Δ boundary IoU [95 %]" in first
    assert "after Holm's correction over all pairs of this page" in text


def test_differences_that_are_not_tested_have_no_star(files: dict[str, bytes]) -> None:
    table = files["tables/fake.md"].decode()
    (row,) = (line for line in table.splitlines() if line.startswith("| no-adapter | ✗"))
    assert "[−" in row
    assert "*" not in row.replace("**", "")
    assert "Tested: question 0; question 1" in table
    assert "Other differences are estimates." in table


def test_the_control_of_the_comparison_is_not_called_weakclip() -> None:
    table = summarise(load_study("comparison"), [], [])
    kinds = {row[0].text: row[2].text for row in table.rows}
    assert kinds["cam-plain-fpn"] == "PlainFPN"
    assert kinds["cam-weakclip"] == "WeakCLIP"
    assert kinds["cam-pamr"] == "PAMR"


def test_rows_have_their_share_of_the_upper_bound(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make_records(store, seeds=(0, 1))
    bound = replace(STUDY, bound="no-adapter")
    table = render(bound, store).summary
    place = table.headers.index("pseudo-mask-train\n% of no adapter")
    shares = {row[0].text: row[place].text for row in table.rows}
    scores = {
        record.variant: record.metrics["pseudo-mask-train"]["miou"]
        for record in render(bound, store).records
        if record.seed == 0
    }
    assert shares["no-adapter"] == "100.0"
    assert 100 * scores["full"] / scores["no-adapter"] == pytest.approx(
        float(shares["full"]), abs=3
    )
    assert not any("% of" in header for header in render(STUDY, store).summary.headers)
    with pytest.raises(ValueError, match="expected its bound to be a row, got 'nothing'"):
        replace(STUDY, bound="nothing")


def test_the_study_of_retraining_frames_the_grid_of_the_comparison() -> None:
    study, grid = load_study("retraining"), load_study("comparison")
    assert study.bound == "full-supervision"
    rows = {row.name: row.config for row in study.rows}
    for row in grid.rows:
        if row.name in rows:
            changed = rows[row.name]
            assert isinstance(changed, MethodRow)
            assert replace(changed, retraining=None) == row.config
    assert {"seeds-only", "maskclip-plain-fpn", "full-supervision"} <= rows.keys()
    for preset in ("cartoon", "smoke", "voc", "coco"):
        sized = study_for(study, preset).rows
        used = {row.config.retraining for row in sized if isinstance(row.config, MethodRow)}
        assert used == {load_preset(preset).retraining}
        assert len(sized) == len(rows)
