from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.runs.store import Store
from bench.stats.effects import (
    contrasts,
    counts_by_row,
    effects,
    is_noise_pooled,
    main_tasks,
    tasks_of,
)
from bench.stats.statistics import holm
from bench.studies.study import Comparisons, load_study
from tests.bench.fake import STUDY, make_records
from tests.bench.records import RECORD

if TYPE_CHECKING:
    from pathlib import Path


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
    found = contrasts(load_study("comparison"))
    assert {c.kind for c in found} == {"named"}
    pairs = {(c.variant, c.baseline) for c in found}
    assert len(pairs) == len(found) == 35
    assert ("clip-es-weakclip", "clip-es-plain-fpn") in pairs
    assert ("maskclip-pamr", "maskclip-alone") in pairs
    assert ("maskclip-weakclip", "maskclip-caa") in pairs
    assert all(one.startswith(two.rpartition("-")[0][:4]) for one, two in pairs)


def test_named_comparisons_alone_are_tested_and_corrected_together(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make_records(store, seeds=(0, 1))
    pairs = (("full", "no-adapter"), ("full", "shallow"))
    named = tuple(Comparisons(name=str(n), short="other", pairs=(p,)) for n, p in enumerate(pairs))
    study = replace(STUDY, comparisons=named)
    records = store.read_all("fake", [row.name for row in STUDY.rows])
    found = effects(study, records, counts_by_row(records, store))
    assert {e.contrast.kind for e in found if e.is_tested} == {"named"}
    assert {e.contrast.kind for e in found if not e.is_tested} >= {"leave-one-out", "variant"}
    for task in tasks_of(records):
        both = [e for e in found if e.is_tested and (e.task, e.metric) == (task, "miou")]
        assert len(both) == 2
        assert [e.p_holm for e in both] == holm([e.difference.p_value for e in both])


@pytest.mark.parametrize(
    "pairs", [(("full", "nobody"),), (("full", "full"),), (("full", "shallow"),) * 2]
)
def test_a_study_refuses_comparisons_of_rows_it_lacks_or_twice(
    pairs: tuple[tuple[str, str], ...],
) -> None:
    with pytest.raises(ValueError, match="expected comparisons of two different rows"):
        replace(STUDY, comparisons=(Comparisons(name="n", short="s", pairs=pairs),))


def test_main_tasks_come_from_the_protocol_or_are_the_first() -> None:
    assert main_tasks([RECORD]) == ["task"]
    assert main_tasks([]) == []


def test_noise_is_pooled_over_variants_of_one_network_only() -> None:
    method = replace(RECORD, config={"kind": "Method"})
    assert is_noise_pooled([RECORD, RECORD])
    assert not is_noise_pooled([RECORD, method])
