"""Tables of named comparisons: a line per pair, a column per task and metric, stars if tested."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.report.build import render
from bench.report.summary import summarise
from bench.runs.store import Store
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
