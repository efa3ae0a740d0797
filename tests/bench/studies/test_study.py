from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.errors import BenchError
from bench.studies import study as module
from bench.studies.names import known_studies
from bench.studies.study import (
    Series,
    Study,
    Variant,
    cumulative_path,
    load_study,
    series_values,
)
from tests.bench.fake import FULL, STUDY
from weakclip.config import FixedTemplate, LearnableContext, Resample

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


def test_a_series_is_the_rows_that_change_one_number_and_nothing_else() -> None:
    rows = {
        "hot": replace(FULL, tau=0.5),
        "cold": replace(FULL, tau=0.01),
        "hot-off": replace(FULL, tau=0.2, adapter=Resample()),
        "short": replace(FULL, prompt=LearnableContext(length=4)),
        "short-own": replace(FULL, prompt=LearnableContext(length=2, class_specific=True)),
        "fixed": replace(FULL, prompt=FixedTemplate()),
    }
    variants = tuple(Variant(name=name, config=config) for name, config in rows.items())
    study = Study(name="s", question="?", reference=REFERENCE, variants=variants)
    tau = Series(name="tau", label="tau", path="tau", log=True)
    length = Series(name="length", label="vectors", path="prompt.length")
    assert list(series_values(study, tau).items()) == [
        ("cold", 0.01),
        ("full", FULL.tau),
        ("hot", 0.5),
    ]
    assert series_values(study, length) == {"short": 4, "full": 8}
    assert replace(study, series=(tau, length)).series == (tau, length)


@pytest.mark.parametrize(
    ("path", "log", "got"),
    [
        ("prompt.lenght", False, "a number at 'prompt.lenght' of the configurations, got none"),
        ("prompt", False, "a number at 'prompt' of the configurations, got none"),
        ("prompt.class_specific", False, "got none"),
        ("prompt.length", True, "positive numbers at 'prompt.length' .* got \\[0, 8\\]"),
    ],
)
def test_a_series_needs_numbers_that_fit_its_axis(path: str, *, log: bool, got: str) -> None:
    bare = Variant(name="bare", config=replace(FULL, prompt=LearnableContext(length=0)))
    series = Series(name="length", label="vectors", path=path, log=log)
    with pytest.raises(ValueError, match=f"study 's', series 'length': expected .*{got}"):
        Study(name="s", question="?", reference=REFERENCE, variants=(bare,), series=(series,))


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


def test_a_study_has_the_name_of_its_module_too() -> None:
    assert load_study("release_vs_paper") == load_study("release-vs-paper")


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
