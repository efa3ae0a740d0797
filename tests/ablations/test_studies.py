"""Every study in the catalogue: loads, has unique rows, and says what it costs."""

from __future__ import annotations

import importlib
from itertools import pairwise

import pytest

from bench.oracle.truth import OracleTruth
from bench.studies.factorial import design_of
from bench.studies.method import MethodRow, Selection
from bench.studies.names import known_studies, question
from bench.studies.preset import study_for
from bench.studies.slots import OFF_KINDS, differing_slots, plain_config
from bench.studies.study import (
    cumulative_path,
    load_study,
    response_points,
    series_values,
)
from weakclip.config import PAPER, RELEASE


@pytest.mark.parametrize("name", known_studies())
def test_a_study_says_its_source_command_cost_and_expectation(name: str) -> None:
    study = load_study(name)
    text = importlib.import_module(f"ablations.{name.replace('-', '_')}").__doc__ or ""
    for heading in ("Source:", "Run:", "Cost:", "Expect:"):
        assert heading in text
    assert study.question.endswith("?")


def test_leave_one_out_rows_differ_in_exactly_one_slot() -> None:
    study = load_study("components")
    rows = {
        row.name: differing_slots(row.config, study.reference.config)
        for row in study.variants
        if row.name.startswith("no-")
    }
    assert rows == {
        "no-pyramid-adapter": ("adapter",),
        "no-prompt-context": ("prompt",),
        "no-co-attention": ("matching",),
        "no-text-guidance": ("decoder",),
    }


def test_the_cumulative_path_gives_text_guidance_before_what_acts_only_through_it() -> None:
    study = load_study("components")
    path = cumulative_path(study)
    assert [row.name for row in path] == [
        "baseline",
        "plus-adapter",
        "plus-adapter-guidance",
        "no-co-attention",
        "full",
    ]
    added = [differing_slots(after.config, before.config) for before, after in pairwise(path)]
    assert added == [("adapter",), ("decoder",), ("prompt",), ("matching",)]


def test_off_keeps_the_width_and_dropout_of_on() -> None:
    study = load_study("components")
    full = plain_config(study.reference.config)["decoder"]
    assert isinstance(full, dict)
    for row in study.variants:
        for slot in differing_slots(row.config, study.reference.config):
            assert isinstance(getattr(row.config, slot), OFF_KINDS)
        plain = plain_config(row.config)["decoder"]
        assert isinstance(plain, dict)
        assert (plain["channels"], plain["dropout"]) == (full["channels"], full["dropout"])


def test_the_factorial_study_has_every_combination() -> None:
    design = design_of(load_study("factorial"))
    assert design is not None
    assert design.factors == ("adapter", "prompt", "matching", "decoder")
    assert len(set(design.levels.values())) == len(design.levels) == 16
    assert design.levels["prompt-decoder"] == (-1, 1, -1, 1)


def test_sensitivity_rows_differ_in_exactly_one_slot() -> None:
    study = load_study("sensitivity")
    for row in study.variants:
        assert len(differing_slots(row.config, study.reference.config)) == 1, row.name


def test_the_curves_of_the_sensitivity_study_have_all_their_values() -> None:
    study = load_study("sensitivity")
    found = {series.name: series_values(study, series) for series in study.series}
    assert {name: list(values.values()) for name, values in found.items()} == {
        "prompt-length": [0, 2, 4, 8, 16],
        "co-attention-depth": [1, 2, 3],
        "tau": [0.01, 0.03, 0.07, 0.2],
    }
    assert all("full" in values for values in found.values())


def test_the_release_is_the_sum_of_its_departures() -> None:
    study = load_study("release-vs-paper")
    changed = [differing_slots(row.config, study.reference.config) for row in study.variants]
    assert changed == [
        ("matching",), ("adapter",), ("class_token",), ("adapter", "matching", "class_token"),
    ]  # fmt: skip
    assert differing_slots(RELEASE, PAPER) == (*changed[-1], "drop_path")


@pytest.mark.parametrize("name", known_studies())
def test_the_docstring_of_every_study_begins_with_its_question(name: str) -> None:
    assert question(name) == load_study(name).question


@pytest.mark.parametrize("name", known_studies())
def test_every_study_has_the_same_rows_on_photographs_unless_they_would_be_equal(name: str) -> None:
    study = load_study(name)
    for preset in ("voc", "coco"):
        rows = [row.name for row in study_for(study, preset).rows]
        assert rows == [row.name for row in study.rows if row.name in rows]
        assert len(rows) == len(study.rows) or not isinstance(study.reference.config, MethodRow)


def test_rows_made_of_the_annotation_say_so() -> None:
    for row in load_study("noise").rows:
        assert row.name.startswith("truth-")
        assert isinstance(row.config, MethodRow)
        assert isinstance(row.config.cam, OracleTruth)
    for name in known_studies():
        for row in load_study(name).rows:
            config = row.config
            if not isinstance(config, MethodRow):
                continue
            assert isinstance(config.cam, OracleTruth) == (name == "noise")
            if isinstance(config.refinement, Selection):
                assert (config.refinement.rule == "oracle") == ("oracle" in row.name)


def test_every_point_of_the_noise_study_is_compared_with_the_seeds_that_it_started_from() -> None:
    study = load_study("noise")
    rows = {row.name: row.config for row in study.rows}
    used = set()
    for point in response_points(study):
        own, seeds = rows[point.row], rows[point.against]
        assert isinstance(own, MethodRow)
        assert isinstance(seeds, MethodRow)
        assert own.cam == seeds.cam
        assert isinstance(own.cam, OracleTruth)
        assert own.cam.strength == point.x
        assert point.against.endswith("seeds")
        used.add(point.row)
    assert used == rows.keys()
