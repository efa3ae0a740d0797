"""The figures of scores, costs and training: what they show, from which file, and same bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.report.figures.set import Drawing, draw, drawings
from bench.report.table import CURVE_COLUMNS, csv_text, curves_frame, effects_frame, tidy
from tests.bench.fake import STUDY
from tests.bench.records import RECORD

if TYPE_CHECKING:
    from bench.runs.record import RunRecord

CLASSES = {"task": {"cat": {"iou": 0.25}, "dog": {"iou": 0.75}}}
RECORDS = [
    replace(RECORD, variant=name, seed=seed, metrics={"task": {"miou": score + 0.01 * seed}},
            per_class=CLASSES, seconds={"train": 3.0 + seed, "crf": 1.0})
    for name, score in (("full", 0.6), ("baseline", 0.4))
    for seed in (0, 1)
]  # fmt: skip


def figures(records: list[RunRecord]) -> dict[str, Drawing]:
    sources = {
        "": csv_text(tidy(records)),
        "_effects": csv_text(effects_frame(STUDY, records, [])),
        "_curves": csv_text(curves_frame(records)),
    }
    return {drawing.name: drawing for drawing in drawings(STUDY, records, sources)}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fake_classes", ("cat", "dog", "IoU (%)", "n = 2 seeds", "bars: full", "task")),
        ("fake_cost", ("1 full", "2 baseline", "trainable parameters (M)", "time of a run (s)")),
        ("fake_curves", ("full", "baseline", "step", "n = 2 seeds")),
    ],
)
def test_a_figure_says_what_it_shows_and_is_made_of_its_file_alone(
    name: str, words: tuple[str, ...]
) -> None:
    drawing = figures(RECORDS)[name]
    svg = draw(drawing, "svg").decode()
    assert svg.encode() == draw(drawing, "svg")
    assert drawing.mark in svg
    assert drawing.mark.encode() in draw(drawing, "png")
    for word in words:
        assert f"<!-- {word}" in svg or word in svg


def test_figures_need_what_they_show() -> None:
    assert set(figures(RECORDS)) == {"fake_classes", "fake_cost", "fake_curves"}
    untrained = [replace(record, curve=[]) for record in RECORDS]
    assert set(figures(untrained)) == {"fake_classes", "fake_cost"}
    assert set(figures([r for r in untrained if r.variant != "full"])) == set()


def test_curves_are_tidy_and_sorted() -> None:
    frame = curves_frame([replace(RECORD, curve=[{"step": 2.0, "loss": 1.0, "extra": 3.0}])])
    assert tuple(frame.columns) == CURVE_COLUMNS
    assert frame[["step", "metric", "value"]].to_numpy().tolist() == [
        [2, "extra", 3.0], [2, "loss", 1.0],
    ]  # fmt: skip
