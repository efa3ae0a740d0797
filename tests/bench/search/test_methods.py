"""The search for settings of the compared methods: one rule, equal numbers, what the table says."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ablations import _settings, comparison
from bench.search import methods
from bench.search.methods import Tried, choose, setting_id
from bench.stats.statistics import paired_difference
from weakclip.stages.caa import CAA
from weakclip.stages.refine import Keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.studies.method import MethodRow


COUNTS = np.array([[[60, 80, 80]], [[50, 75, 75]]])


def tried(setting: str, miou: float, low: float | None) -> Tried:
    difference = None
    if low is not None:
        pair = paired_difference(COUNTS[None], COUNTS[None], resamples=2)
        difference = replace(pair, low=low, high=low + 0.1)
    return Tried(method="m", setting=setting, config_id=setting, miou=miou, difference=difference)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([("b", 0.6, 0.01), ("c", 0.55, 0.02)], "b"),
        ([("b", 0.6, -0.01), ("c", 0.55, 0.02)], "first"),
        ([("b", 0.4, -0.3)], "first"),
    ],
)
def test_the_best_is_chosen_only_if_it_is_better_beyond_its_interval(
    others: Sequence[tuple[str, float, float]], chosen: str
) -> None:
    assert choose([tried("first", 0.5, None), *(tried(*other) for other in others)]) == chosen


def test_a_refinement_must_be_better_on_the_second_map_as_well() -> None:
    first, best = tried("first", 0.5, None), tried("b", 0.6, 0.02)
    worse = replace(best, confirmed=tried("b", 0.6, -0.3).difference)
    same = replace(best, confirmed=tried("b", 0.6, 0.01).difference)
    assert choose([first, worse]) == "first"
    assert choose([first, same]) == "b"
    assert _settings.confirmed_with("caa", "Otsu's threshold") is None
    maps = _settings.confirmed_with("maskclip", "key smoothing")
    assert maps is not None
    assert isinstance(maps.refinement, CAA)
    again = _settings.confirmed_with("pamr", "MICRO: dilations 1, 2, 3, 6")
    assert again is not None
    assert again != _settings.tuned_with("pamr", "MICRO: dilations 1, 2, 3, 6")


def test_every_compared_method_has_four_settings_and_none_twice() -> None:
    grid = {cam for cam, _ in comparison.CELLS}
    assert {each.name for each in _settings.MAPS} == grid
    for each in _settings.SEARCHED:
        configs = {setting_id(spec) for spec in each.settings.values()}
        assert len(configs) == len(each.settings) == 4, each.name


def test_a_map_source_is_followed_by_nothing_and_a_refinement_follows_one_map() -> None:
    assert isinstance(_settings.tuned_with("cam", "scale 1").refinement, Keep)
    cams = {
        _settings.tuned_with(each.name, setting).cam
        for each in _settings.REFINEMENTS
        for setting in each.settings
    }
    assert len(cams) == 1


def test_the_study_uses_what_the_table_says_was_chosen() -> None:
    with Path("results/tables/tuning.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = {row["method"]: row for row in rows if row["chosen"] == "yes"}
    assert table
    for each in _settings.SEARCHED:
        if each.name in table:
            spec = each.settings[each.chosen]
            assert table[each.name]["setting"] == each.chosen
            assert table[each.name]["config_id"] == setting_id(spec)


def test_the_search_writes_a_table_with_the_chosen_setting_of_each_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts(job: tuple[MethodRow, Path]) -> np.ndarray:
        good = job[0] == _settings.tuned_with("caa", "last third of the blocks")
        found = 70 if good else 50
        return np.tile(np.array([[[found, found, 80]]]), (20, 1, 1))

    class Pool:
        def __init__(self, workers: int) -> None:
            assert workers == 1

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        map = staticmethod(map)

    monkeypatch.setattr(methods, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(methods, "_counts", counts)
    assert methods.main(["--out", str(tmp_path), "--artifacts", str(tmp_path)]) == 0
    text = (tmp_path / "tables" / "tuning.md").read_text()
    assert text.count("✓") == len(_settings.SEARCHED)
    assert "| caa | last third of the blocks | 87.5 | +25.0 [+25.0, +25.0] | – | ✓ |" in text
    assert "uses the pixel annotation of `tune`" in text
    assert "Not searched yet" not in text
    assert methods.main(["caa", "--out", str(tmp_path), "--artifacts", str(tmp_path)]) == 0
    text = (tmp_path / "tables" / "tuning.md").read_text()
    assert text.count("✓") == 1
    assert "Not searched yet: cam, clip-es, clims, maskclip, alone, pamr" in text
