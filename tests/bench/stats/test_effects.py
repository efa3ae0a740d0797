from __future__ import annotations

from dataclasses import replace

from bench.stats.effects import contrasts, is_noise_pooled, main_tasks
from bench.studies.study import load_study
from tests.bench.records import RECORD


def test_the_component_study_has_both_designs() -> None:
    found = contrasts(load_study("components"))
    left_out = {c.component: c.variant for c in found if c.kind == "leave-one-out"}
    assert left_out == {
        "adapter": "no-pyramid-adapter",
        "prompt": "no-prompt-context",
        "matching": "no-co-attention",
        "decoder": "no-text-guidance",
    }
    steps = [(c.component, c.variant, c.baseline) for c in found if c.kind == "cumulative"]
    assert steps == [
        ("adapter", "plus-adapter", "baseline"),
        ("decoder", "plus-adapter-guidance", "plus-adapter"),
        ("prompt", "no-co-attention", "plus-adapter-guidance"),
        ("matching", "full", "no-co-attention"),
    ]


def test_a_grid_of_methods_has_no_steps() -> None:
    study = load_study("comparison")
    found = contrasts(study)
    assert {c.kind for c in found} == {"variant"}
    assert [c.variant for c in found] == [row.name for row in study.variants]


def test_main_tasks_come_from_the_protocol_or_are_the_first() -> None:
    assert main_tasks([RECORD]) == ["task"]
    assert main_tasks([]) == []


def test_noise_is_pooled_over_variants_of_one_network_only() -> None:
    method = replace(RECORD, config={"kind": "Method"})
    assert is_noise_pooled([RECORD, RECORD])
    assert not is_noise_pooled([RECORD, method])
