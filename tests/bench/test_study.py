from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench import study as module
from bench.errors import BenchError
from bench.study import Study, Variant, cumulative_path, known_studies, load_study
from tests.bench.fake import FULL, STUDY
from weakclip.config import FixedTemplate, Resample

REFERENCE = Variant(name="full", config=FULL)


def test_names_are_kebab_case_and_unique() -> None:
    with pytest.raises(ValueError, match="expected kebab-case such as 'no-adapter', got 'No_X'"):
        Variant(name="No_X", config=FULL)
    twice = Variant(name="full", config=replace(FULL, adapter=Resample()))
    with pytest.raises(ValueError, match="two variants are called 'full'"):
        replace(STUDY, variants=(twice,))


def test_equal_configurations_are_not_run_twice() -> None:
    with pytest.raises(ValueError, match="'full' and 'same' have the same configuration"):
        replace(STUDY, variants=(Variant(name="same", config=FULL),))


@pytest.mark.parametrize("seeds", [(), (0, 0), (-1,)])
def test_seeds_are_distinct(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected distinct integers"):
        replace(STUDY, seeds=seeds)


def test_rows_are_selected_in_the_order_of_the_study() -> None:
    assert [row.name for row in STUDY.select(("shallow", "full"))] == ["full", "shallow"]
    assert STUDY.select(()) == STUDY.rows
    with pytest.raises(BenchError, match="unknown variant of study 'fake' 'ful'; did you mean"):
        STUDY.select(("ful",))


def test_there_is_no_path_through_leave_one_out_rows_alone() -> None:
    one_out = (
        Variant(name="no-adapter", config=replace(FULL, adapter=Resample())),
        Variant(name="no-prompt", config=replace(FULL, prompt=FixedTemplate())),
    )
    assert cumulative_path(replace(STUDY, variants=one_out)) == ()
    assert cumulative_path(STUDY) == ()


def test_an_unknown_study_gets_the_nearest_name() -> None:
    with pytest.raises(BenchError, match="unknown study 'componets'; did you mean 'components'"):
        load_study("componets")
    assert "components" in known_studies()


def test_a_module_without_a_study_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "known_studies", lambda: ("odd-one",))
    monkeypatch.setattr(importlib, "import_module", lambda _: SimpleNamespace())
    with pytest.raises(BenchError, match=r"ablations\.odd_one: expected STUDY to be .* got None"):
        load_study("odd-one")
    other = SimpleNamespace(STUDY=Study(name="x", question="?", reference=REFERENCE, variants=()))
    monkeypatch.setattr(importlib, "import_module", lambda _: other)
    with pytest.raises(BenchError, match="called 'odd-one', got a study called 'x'"):
        load_study("odd-one")
