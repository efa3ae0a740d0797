"""What costs most, as files, sentences and a section of the page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from bench.report.build import render, stale_files, write
from bench.report.diagnosis.tables import COLUMNS, RATE_COLUMNS, diagnosis_tables
from bench.report.diagnosis.words import in_words
from bench.report.figures.diagnosis import draw_diagnosis
from bench.report.figures.figure import fingerprint
from bench.report.page.page import page
from bench.runs.plan import SMOKE
from bench.runs.store import Store
from bench.stats.diagnosis import Diagnosis
from tests.bench.fake import STUDY, make_records
from tests.bench.records import RECORD
from tests.bench.stats.test_diagnosis import diagnosis
from weakclip.evaluation.diagnosis import Cost

if TYPE_CHECKING:
    from bench.report.build import Report


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    return diagnosis(tmp_path_factory.mktemp("diagnosed"))


def cost(view: str, name: str, right: float, gain: float = 0.01) -> Cost:
    return Cost(view=view, name=name, gain=gain, low=gain - 0.01, high=gain + 0.01, errors=0.25,
                pixels=0.1, right=right)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("results"))
    make_records(store, seeds=(0, 1))
    return store


@pytest.fixture(scope="module")
def report(store: Store) -> Report:
    report = render(STUDY, store)
    write(report, store)
    return report


def test_a_report_has_tables_a_figure_and_a_section_of_the_page(
    store: Store, report: Report
) -> None:
    assert stale_files(report, store) == []
    frame = pd.read_csv(store.root / "tables" / "fake_diagnosis.csv")
    assert tuple(frame.columns) == COLUMNS
    assert set(frame["variant"]) == {row.name for row in STUDY.rows}
    rates = pd.read_csv(store.root / "tables" / "fake_rates.csv")
    assert tuple(rates.columns) == RATE_COLUMNS
    assert len(rates) == 3 * len(STUDY.rows)
    text = (store.root / "tables" / "fake_diagnosis.md").read_text()
    assert "Largest losses of full on pseudo-mask-train, n = 2 seeds × 12 images" in text
    assert "Gain: mIoU in points" in text
    assert (
        fingerprint((store.root / "tables" / "fake_diagnosis.csv").read_text())
        in (store.root / "figures" / "fake_diagnosis.svg").read_text()
    )
    whole = page([report], store).decode()
    assert "<h3>Largest losses of mIoU</h3>" in whole
    assert whole.count("<summary>Largest losses of ") == len(STUDY.rows)


def test_the_table_of_kinds_has_rates_with_intervals_and_gains(found: Diagnosis) -> None:
    kinds, costs, groups = diagnosis_tables(STUDY, [found])
    assert kinds.headers[:5] == ("variant", "mean FP/U %", "mean FN/U %", "m_FP", "m_FN")
    (row,) = kinds.rows
    value = found.means["fp_rate"]
    expected = f"{100 * value.estimate:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"
    assert (row[0].text, row[1].text) == ("full", expected)
    shown = [float(cells[2].text.split(" [")[0].lstrip("+")) for cells in costs.rows]
    assert shown == sorted(shown, reverse=True)
    assert groups.rows[0][1].text == "contour"


def test_sentences_say_what_costs_most(found: Diagnosis) -> None:
    text = " ".join(in_words([RECORD], found))
    assert f"On task the mIoU is {100 * found.miou:.1f} %" in text
    assert "of the wrong pixels are up to 5 px from a contour" in text
    assert in_words([replace(RECORD, preset=SMOKE)], found) == []


def test_sentences_about_seeds_stuff_and_parts() -> None:
    found = Diagnosis(
        variant="full", task="task", class_names=("background", "boat"), miou=0.5,
        costs=(
            cost("seed", "seed is right", 0.95), cost("seed", "seed is wrong", 0.4),
            cost("seed", "seed is undecided", 0.7), cost("shows", "stuff: water", 0.8, 0.03),
            cost("shows", "stuff: sky", 0.9), cost("occlusion", "occluded objects", 0.3),
            *(cost("shows", f"part: p{place}", place / 10) for place in range(6)),
        ),
        rates={}, means={}, seeds=3, images=9,
    )  # fmt: skip
    text = " ".join(in_words([RECORD], found))
    assert "whose seed is wrong 40 % are corrected" in text
    assert "whose seed is right 5.0 % are destroyed" in text
    assert "of the undecided 70 % come out right" in text
    assert "most often: 20 % of water (+3.0 [+2.0, +4.0] without), 10 % of sky" in text
    assert "found least: p0 (0.0 %), p1 (10 %), p2 (20 %); most: p5 (50 %), p4 (40 %)" in text
    assert "30 % of occluded objects" in text


def test_the_figure_is_a_function_of_the_csv(report: Report) -> None:
    text = report.files["tables/fake_diagnosis.csv"].decode()
    drawn = draw_diagnosis(text, variant="full", format_="svg").decode()
    assert fingerprint(text) in drawn
    assert drawn == draw_diagnosis(text, variant="full", format_="svg").decode()
