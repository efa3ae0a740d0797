"""Every study in the catalogue: loads, has unique rows, and says what it costs."""

from __future__ import annotations

import importlib
from itertools import pairwise

import pytest

from bench.studies.factorial import design_of
from bench.studies.slots import OFF_KINDS, differing_slots, plain_config
from bench.studies.study import cumulative_path, known_studies, load_study, series_values
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
