"""Confusion matrices: summed over seeds, as rows, in words and drawn."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bench.report.build import render, stale_files, write
from bench.report.confusion import COLUMNS, Confusion, confusion_rows, confusions, in_words
from bench.report.figures.confusion import confusion_tasks, draw_confusion
from bench.report.figures.figure import fingerprint
from bench.report.table import rows_csv
from bench.runs.plan import SMOKE
from bench.runs.store import CONFUSION_SUFFIX, Store
from bench.stats.effects import counts_by_row
from tests.bench.fake import STUDY, make_records
from tests.bench.records import RECORD

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = np.array([[90, 8, 2, 0], [30, 50, 10, 10], [0, 0, 0, 0]])
FOUND = Confusion(
    task="t", class_names=("background", "cat", "dog"), pixels=PIXELS, seeds=2, images=7
)


def text_of(*found: Confusion) -> str:
    return rows_csv(confusion_rows(STUDY, [RECORD], found), COLUMNS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("results"))
    make_records(store, seeds=(0, 1))
    return store


def test_the_matrices_of_the_reference_are_summed_over_its_seeds(store: Store) -> None:
    records = store.read_all("fake", [row.name for row in STUDY.rows])
    (found,) = confusions(STUDY, records, counts_by_row(records, store))
    assert (found.task, found.seeds, found.images) == ("pseudo-mask-train", 2, 12)
    name = found.task + CONFUSION_SUFFIX
    each = [store.counts(record)[name] for record in records if record.variant == "full"]
    assert len(each) == 2
    assert (found.pixels == each[0] + each[1]).all()
    assert found.pixels.sum() == 2 * 12 * 3 * 100


def test_shares_are_of_the_pixels_of_the_ground_truth_class() -> None:
    assert FOUND.shares[:2].tolist() == [[0.9, 0.08, 0.02, 0.0], [0.3, 0.5, 0.1, 0.1]]
    assert np.isnan(FOUND.shares[2]).all()
    frame = pd.read_csv(StringIO(text_of(FOUND)), keep_default_na=False)
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 3 * 4
    row = frame.query("gt_class == 'cat' and predicted_class == 'void'").iloc[0]
    assert (row["pixels"], float(row["share"]), row["images"]) == (10, 0.1, 7)
    assert set(frame.query("gt_class == 'dog'")["share"]) == {""}


def test_the_largest_confusions_are_named_largest_first() -> None:
    (sentence,) = in_words([RECORD], [FOUND])
    order = [
        "30.0 % of **cat** for background", "10.0 % of **cat** for dog",
        "10.0 % of **cat** for void", "8.0 % of **background** for cat",
        "2.0 % of **background** for dog",
    ]  # fmt: skip
    assert sentence.endswith(f": {'; '.join(order)}.")
    assert in_words([replace(RECORD, preset=SMOKE)], [FOUND]) == ()
    perfect = replace(FOUND, pixels=np.pad(np.diag([5, 5, 5]), ((0, 0), (0, 1))))
    assert in_words([RECORD], [perfect]) == ()


def test_the_figure_names_classes_and_numbers_of_five_percent_and_more() -> None:
    text = text_of(FOUND)
    assert confusion_tasks(text) == ["t"]
    svg = draw_confusion(text, task="t", format_="svg").decode()
    assert svg.encode() == draw_confusion(text, task="t", format_="svg")
    assert fingerprint(text) in svg
    assert fingerprint(text).encode() in draw_confusion(text, task="t", format_="png")
    for word in ("background", "cat", "dog", "void", "n = 2 seeds × 7 images", "ground truth"):
        assert f"<!-- {word}" in svg
    numbers = [number for number in ("90", "8", "2", "30", "50") if f"<!-- {number} -->" in svg]
    assert numbers == ["90", "8", "30", "50"]


def test_pixels_without_a_class_have_a_column_only_if_there_are_any() -> None:
    text = text_of(replace(FOUND, pixels=PIXELS * [1, 1, 1, 0]))
    assert "<!-- void" not in draw_confusion(text, task="t", format_="svg").decode()


@pytest.mark.usefixtures("quick_draw")
def test_a_changed_record_makes_table_and_figures_stale(store: Store, tmp_path: Path) -> None:
    there = Store(tmp_path)
    for record in store.read_all("fake", [row.name for row in STUDY.rows]):
        there.write(record, store.counts(record))
    write(render(STUDY, there), there)
    assert stale_files(render(STUDY, there), there) == []
    (record,) = there.read_all("fake", ["full"], [0])
    counts = there.counts(record)
    counts["pseudo-mask-train" + CONFUSION_SUFFIX][0, 1] += 1
    there.write(record, counts)
    name = "fake_confusion"
    stale = stale_files(render(STUDY, there), there)
    assert any("diagnosis" in each for each in stale)  # it is made from the same matrix
    assert [each for each in stale if "diagnosis" not in each] == [
        f"tables/{name}.csv",
        *(f"figures/{name}_pseudo-mask-train.{format_}" for format_ in ("svg", "png")),
    ]


@pytest.mark.usefixtures("quick_draw")
def test_records_of_older_code_have_no_matrix_and_make_a_report(
    store: Store, tmp_path: Path
) -> None:
    older = Store(tmp_path)
    for record in store.read_all("fake", [row.name for row in STUDY.rows]):
        counts = store.counts(record).items()
        kept = {name: each for name, each in counts if not name.endswith(CONFUSION_SUFFIX)}
        older.write(record, kept)
    report = render(STUDY, older)
    assert not [name for name in report.files if "confusion" in name]
    assert report.confusions == ()
