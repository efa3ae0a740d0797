from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ablations.comparison import STUDY as COMPARISON
from bench.cartoon.write import FORMAT
from bench.errors import BenchError
from bench.report.build import render
from bench.report.validity import published_value, rank_correlation
from bench.runs.store import Store, pack
from bench.stats.effects import counts_by_row
from bench.stats.statistics import pooled_miou
from bench.studies.validity import Counterpart, Validity
from tests.bench.fake import STUDY, TASKS, make_records

RESULTS = Path(__file__).parents[3] / "results"
METHODS = tuple(
    Counterpart(name=name, row=row, task=TASKS[0], system=system, stage=stage)
    for name, row, system, stage in (
        ("CAM", "baseline", "IRN CAM", "cam_seed"),
        ("CLIMS", "no-adapter", "CLIMS camera-ready", "cam_seed"),
        ("CLIP-ES", "full", "CLIP-ES + CAA", "cam_refined"),
    )
)
VALIDITY = Validity(methods=METHODS, order=("CAM", "CLIMS", "CLIP-ES"), gains=(("CAM", "CLIP-ES"),))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Records of CartoonVOC, which lack a row."""
    made = Store(tmp_path)
    make_records(made, seeds=(0, 1))
    shutil.copy(RESULTS / "reference.csv", tmp_path / "reference.csv")
    for record in made.read_all("fake", [row.name for row in STUDY.rows]):
        data = {**record.provenance.data, "name": FORMAT}
        drawn = replace(record, provenance=replace(record.provenance, data=data))
        made.put(pack(drawn, made.counts(record)))
    return made


def test_every_counterpart_of_the_comparison_is_one_published_line() -> None:
    assert COMPARISON.validity is not None
    values = {each.name: published_value(each, RESULTS) for each in COMPARISON.validity.methods}
    order = [values[name] for name in COMPARISON.validity.order]
    assert order == sorted(order)
    assert all(values[first] > values[second] for first, second in COMPARISON.validity.gains)
    rows = {row.name for row in COMPARISON.rows}
    assert {each.row for each in COMPARISON.validity.methods} <= rows
    strange = replace(COMPARISON.validity.methods[0], backbone="ResNet-38")
    with pytest.raises(BenchError, match="expected one line"):
        published_value(strange, RESULTS)


def test_order_signs_and_rank_correlation_are_printed_whatever_comes_out(store: Store) -> None:
    report = render(replace(STUDY, validity=VALIDITY), store)
    page = report.files["tables/validity.md"].decode()
    scores = [
        np.mean([pooled_miou(run[TASKS[0]]) for run in counts.values()])
        for counts in map(counts_by_row(report.records, store).__getitem__, ("full", "no-adapter"))
    ]
    expected = f"| CLIP-ES minus CLIMS | +14.2 | {100 * (scores[0] - scores[1]):+.1f} ["
    assert expected in page
    assert "Signs of the published order: 3 of 3 are the same here." in page
    assert "Signs of published gains: 1 of 1 are the same here." in page  # CAM is worse in both
    assert "over 3 methods: 1.00 [" in page
    assert "with fewer than 10 methods it says little" in page
    lines = report.files["tables/validity.csv"].decode().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [
        *["method"] * 3, *["order"] * 3, "gain", "rank correlation",
    ]  # fmt: skip


def test_another_world_and_missing_rows(store: Store, tmp_path: Path) -> None:
    old = Store(tmp_path / "old")
    make_records(old, seeds=(0,))
    study = replace(STUDY, validity=VALIDITY)
    assert "tables/validity.md" not in render(study, old).files
    absent = replace(METHODS[1], row="missing", name="nobody")
    study = replace(study, validity=replace(VALIDITY, methods=(*METHODS, absent)))
    assert "Not run yet: nobody." in render(study, store).files["tables/validity.md"].decode()


def test_names_that_are_no_method_are_refused() -> None:
    with pytest.raises(ValueError, match="expected names of different methods"):
        replace(VALIDITY, order=("CAM", "CLIPES"))
    with pytest.raises(ValueError, match="expected names of different methods"):
        replace(VALIDITY, methods=(*METHODS, METHODS[0]))


def test_the_rank_correlation_is_that_of_the_means_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(0)
    runs, published = {}, {}
    for place, name in enumerate("abcde"):
        right = rng.normal(50 + 3 * place, 12, (2, 40, 3)).clip(0, 100).round().astype(int)
        both = np.full_like(right, 100)
        counts = np.stack([right, both, both], axis=-1)
        runs[name] = dict(enumerate(counts))
        published[name] = (0.4, 0.5, 0.45, 0.7, 0.6)[place]
    found = rank_correlation(published, runs)
    assert found is not None
    here, low, high = found
    means = [np.mean([pooled_miou(run) for run in each.values()]) for each in runs.values()]
    assert here == pytest.approx(stats.spearmanr(list(published.values()), means).statistic)
    assert -1 <= low <= here <= high <= 1
    assert low < high
    assert found == rank_correlation(published, runs)
    assert rank_correlation({"a": 0.1, "b": 0.2}, runs) is None
