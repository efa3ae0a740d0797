"""The search on a workbench whose best configuration is known, and what it leaves."""

from __future__ import annotations

import io
import math
import runpy
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import optuna
import pandas as pd
import pytest
from optuna.trial import FixedTrial

from bench.errors import BenchError
from bench.report.figures.search import draw_search
from bench.report.table import rows_csv
from bench.search.report import write_search
from bench.search.sweep import Search, found_by, objective, run_search, suggest
from bench.studies.workbench import Tuned
from weakclip.config import MICRO, CoAttention, Cosine, LearnableContext, SeedAndBoundary
from weakclip.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.search.sweep import Found
    from weakclip.config import WeakCLIPConfig

SEARCH = Search(name="fake", config=MICRO, recipe=Recipe(iterations=10), trials=12)
PARAMETERS = {
    "prompt_length": 4, "matching_depth": 3, "matching_dropout": 0.1, "score_scale": 2.0,
    "boundary_weight": 0.5, "matching_weight": 0.2, "tau": 0.05, "learning_rate": 0.003,
    "weight_decay": 0.001,
}  # fmt: skip


class FakeSearchWorkbench:
    """Best at a learning rate of 0.003; slower and a little better the deeper the matching."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.ended = 0

    def run_on_tune(
        self,
        config: WeakCLIPConfig,
        recipe: Recipe,
        seed: int,
        *,
        report: Callable[[int, float], None],
    ) -> Tuned:
        self.seeds.append(seed)
        assert isinstance(config.matching, CoAttention)
        off = abs(math.log(recipe.learning_rate / 0.003))
        for step in (5, 10):
            report(step, off)
        self.ended += 1
        return Tuned(
            miou=0.6 - 0.1 * off + 0.01 * config.matching.depth + 0.001 * seed,
            seconds=10.0 * config.matching.depth,
        )


def quiet(_: str) -> None: ...


@pytest.fixture(scope="module")
def found() -> Found:
    return run_search(SEARCH, FakeSearchWorkbench(), None, tell=quiet)


def test_the_objective_with_given_values_needs_no_search() -> None:
    bench = FakeSearchWorkbench()
    search = replace(SEARCH, seeds=(0, 4))
    trial = FixedTrial(PARAMETERS)
    assert objective(trial, search, bench) == pytest.approx((0.632,))
    assert bench.seeds == [0, 4]
    assert trial.user_attrs["seconds"] == 30.0
    both = replace(search, by_time_too=True)
    assert objective(FixedTrial(PARAMETERS), both, bench) == pytest.approx((0.632, 30.0))


def test_a_trial_is_a_configuration_and_a_recipe() -> None:
    config, recipe = suggest(FixedTrial(PARAMETERS), SEARCH)
    assert config.prompt == LearnableContext(length=4)
    assert isinstance(config.supervision, SeedAndBoundary)
    assert (config.tau, config.supervision.boundary_weight) == (0.05, 0.5)
    assert (recipe.learning_rate, recipe.iterations) == (0.003, 10)
    assert config.adapter == MICRO.adapter


def test_a_component_that_is_off_cannot_be_searched() -> None:
    off = replace(SEARCH, config=replace(MICRO, matching=Cosine()))
    with pytest.raises(ValueError, match="expected a configuration with learnable context"):
        suggest(FixedTrial(PARAMETERS), off)


def test_a_search_finds_what_matters(found: Found) -> None:
    assert len(found.rows) == SEARCH.trials
    assert found.best.values[0] > 0.5
    assert found.recipe.learning_rate == found.best.params["learning_rate"]
    done = [row for row in found.rows if row["state"] == "complete"]
    front = [row for row in done if row["pareto"]]
    assert found.best.values[0] in [row["miou"] for row in front]
    for row in front:
        assert not any(
            o["miou"] >= row["miou"] and o["seconds"] < row["seconds"]  # type: ignore[operator]
            for o in done
        )


def test_a_bad_trial_is_stopped_by_what_needs_no_annotation() -> None:
    bench = FakeSearchWorkbench()
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=1)
    )
    good = {**PARAMETERS, "learning_rate": 0.003}
    study.enqueue_trial(good)
    study.enqueue_trial({**good, "learning_rate": 0.0003})
    study.optimize(lambda trial: objective(trial, SEARCH, bench)[0], n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert bench.ended == 1
    assert found_by(study, SEARCH).best.number == 0


def test_a_search_that_was_stopped_goes_on(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    bench = FakeSearchWorkbench()
    first = run_search(replace(SEARCH, trials=3), bench, storage, tell=quiet)
    again = run_search(replace(SEARCH, trials=5), bench, storage, tell=quiet)
    assert again.rows[:3] == first.rows
    assert len({row["learning_rate"] for row in again.rows}) == 5
    assert len(bench.seeds) == 5


def test_time_can_be_an_objective_too() -> None:
    search = replace(SEARCH, by_time_too=True, trials=6)
    both = run_search(search, FakeSearchWorkbench(), None, tell=quiet)
    assert {row["state"] for row in both.rows} == {"complete"}


def test_without_a_finished_trial_nothing_is_found() -> None:
    with pytest.raises(BenchError, match="search 'fake': expected a finished trial, got none"):
        found_by(optuna.create_study(), SEARCH)


def test_the_best_configuration_can_be_imported(found: Found, tmp_path: Path) -> None:
    source = tmp_path / "found.py"
    files = write_search(found, SEARCH, tmp_path, source)
    assert all(path.stat().st_size for path in files)
    values = runpy.run_path(str(source))
    assert (values["CONFIG"], values["RECIPE"]) == (found.config, found.recipe)
    assert "split `tune`" in values["__doc__"]
    frame = pd.read_csv(tmp_path / "sweeps" / "fake.csv")
    assert list(frame.columns[:5]) == ["trial", "state", "miou", "seconds", "pareto"]
    assert set(PARAMETERS) == set(frame.columns[5:])
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "100", str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0 or "No module named ruff" in checked.stderr


def test_the_same_tables_give_the_same_figure(found: Found) -> None:
    trials = rows_csv(found.rows)
    importances = "parameter,importance\ntau,0.25\nlearning_rate,0.75\n"
    first = draw_search(trials, importances=importances, title="Search fake", format_="svg")
    again = draw_search(trials, importances=importances, title="Search fake", format_="svg")
    assert first == again
    text = first.decode()
    for word in ("History", "Importance", "Pareto front", "learning rate", "mIoU on tune"):
        assert word in text
    none = io.StringIO(trials).readline()
    with pytest.raises(ValueError, match="expected a finished trial"):
        draw_search(none, importances=importances, title="x", format_="svg")
