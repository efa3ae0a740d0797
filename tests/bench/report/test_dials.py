"""Dials of a study: rows, tables, sentences and the figure, from records to files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.errors import BenchError
from bench.report.build import render
from bench.report.dials import COLUMNS, SLOPE_COLUMNS
from bench.report.figures.dials import draw_dials
from bench.report.figures.figure import fingerprint
from bench.runs.store import Store, pack
from bench.studies.dial import Dial, Dials, Position
from bench.studies.preset import study_name
from tests.bench.fake import STUDY, TASKS, make_records
from weakclip.config import WeakCLIPConfig

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = TASKS
STEPS = Dial(
    name="training-steps",
    positions=(
        Position(label="1x"),
        Position(label="2x", changes=("recipe.iterations=680",)),
        Position(label="4x", changes=("recipe.iterations=1360",)),
    ),
    gains="no-adapter",
    towards="last",
    tasks=TASKS,
)
SIZE = Dial(
    name="size",
    positions=(
        Position(label="128"),
        *(Position(label=side, changes=(f"max_side={side}",)) for side in ("64", "32")),
    ),
    gains="no-matching",
    towards="first",
    tasks=TASKS,
)  # fmt: skip
MOVING = replace(
    STUDY,
    series=(),
    dials=Dials(
        preset="cartoon",
        rows=("full", "baseline", "no-adapter", "no-matching"),
        dials=(STEPS, SIZE),
        beside=("shallow",),
    ),
)


def moved(store: Store, preset: str, study: str) -> None:
    """Give a position the records of the centre, at another preset."""
    for record in store.read_all("fake", [row.name for row in STUDY.rows]):
        if record.variant != "shallow":
            copy = replace(record, study=study, preset=preset)
            store.put(pack(copy, store.counts(record)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root: Path = tmp_path_factory.mktemp("results")
    made = Store(root)
    make_records(made, seeds=(0, 1))
    for position in STEPS.positions[1:]:
        preset = position.preset("cartoon")
        moved(made, preset, study_name("fake", preset))
    return made


def test_every_position_has_its_effects_and_missing_runs_are_counted(store: Store) -> None:
    report = render(MOVING, store)
    lines = report.files["tables/fake_dials.csv"].decode().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    # positions x rows x (two tasks with mIoU, one with boundaries)
    assert len(lines) == 1 + 3 * 3 * 3
    assert {line.split(",")[1] for line in lines[1:]} == {"training-steps"}
    page = report.files["tables/fake.md"].decode()
    assert "| training steps: 4x |" in page
    assert "correction over the rows" not in page  # of a study without dials
    assert "Runs that are missing: size 16 of 24." in page
    assert "Runs that are missing: size 16 of 24." in report.said
    assert "\\caption" in report.files["tables/fake.tex"].decode()


def test_equal_positions_have_no_slope(store: Store) -> None:
    report = render(MOVING, store)
    lines = report.files["tables/fake_slopes.csv"].decode().splitlines()
    assert lines[0] == ",".join(SLOPE_COLUMNS)
    assert len(lines) == 1 + len(TASKS)
    slope = float(lines[1].split(",")[SLOPE_COLUMNS.index("slope")])
    assert slope == pytest.approx(0, abs=1e-12)
    assert report.said[0].startswith("training steps: the effect of the part removed in no-adapter")
    assert report.said[0].endswith("undecided.")


def test_the_figure_is_drawn_from_the_table_alone(store: Store) -> None:
    report = render(MOVING, store)
    text = report.files["tables/fake_dials.csv"].decode()
    svg = draw_dials(text, format_="svg")
    assert svg == draw_dials(text, format_="svg") == report.files["figures/fake_dials.svg"]
    assert fingerprint(text).encode() in draw_dials(text, format_="png")
    assert report.figures["fake_dials"].startswith("Effect of each component")


def test_a_study_without_dials_has_no_such_files(store: Store) -> None:
    report = render(STUDY, store)
    assert not [name for name in report.files if "dials" in name or "slopes" in name]
    assert not report.said


def test_a_position_of_an_older_study_is_refused(tmp_path: Path) -> None:
    made = Store(tmp_path)
    make_records(made, seeds=(0,))
    preset = STEPS.positions[1].preset("cartoon")
    moved(made, preset, study_name("fake", preset))
    (row, *_) = MOVING.variants
    assert isinstance(row.config, WeakCLIPConfig)
    other = replace(row, config=replace(row.config, tau=0.5))
    with pytest.raises(BenchError, match="of an older study"):
        render(replace(MOVING, variants=(other, *MOVING.variants[1:])), made)


def test_the_score_map_is_followed_to_the_masks_at_the_centre(tmp_path: Path) -> None:
    made = Store(tmp_path)
    make_records(made, seeds=(0, 1))
    for record in made.read_all("fake", ["full"]):
        before = {"score_map_before": 0.25, "score_map_after": 0.4 + 0.1 * record.seed}
        metrics = {**record.metrics, FIRST: {**record.metrics[FIRST], **before}}
        made.put(pack(replace(record, metrics=metrics), made.counts(record)))
    page = render(MOVING, made).files["tables/fake.md"].decode()
    (line,) = (each for each in page.splitlines() if each.startswith("| full | 25.0 ± 0.0 |"))
    assert f"| {45.0} ± {np.std([40, 50], ddof=1):.1f} |" in line
    assert f"{FIRST}<br>score map before" in page
