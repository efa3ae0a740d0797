from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ablations.conditions import UNSEARCHED
from bench.search.rates import FACTORS, Tried, search_rates, write_rates
from weakclip.config import LearningRates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from weakclip.config import WeakCLIPConfig

BEST = {"decoder": 0.1, "adapter": 1.0, "matching": 0.02, "prompt": 10.0}


def together(rates: LearningRates) -> float:
    """The more components have their best factor the better."""
    return sum(float(getattr(rates, part) == factor) for part, factor in BEST.items()) / 10


class Scorer:
    """Scores configurations and counts them."""

    def __init__(self, name: str) -> None:
        self.config = UNSEARCHED[name]
        self.asked: list[LearningRates] = []

    def __call__(self, configs: Sequence[WeakCLIPConfig]) -> list[tuple[float, ...]]:
        for config in configs:
            assert replace(config, rates=LearningRates()) == self.config
        self.asked += [config.rates for config in configs]
        return [(together(config.rates), together(config.rates) + 0.02) for config in configs]

    def found(self) -> list[Tried]:
        return search_rates(self.config, self)


def test_every_trained_component_gets_its_best_factor() -> None:
    score = Scorer("full")
    found = score.found()
    assert found[-1].rates == LearningRates(**BEST)
    assert found[-1].miou == pytest.approx(0.41)
    assert len(set(score.asked)) == len(score.asked) == len(found)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("plain-fpn", {"decoder"}),
        ("no-prompts", {"decoder", "adapter", "matching"}),
        ("no-matching", {"decoder", "adapter", "prompt"}),
        ("no-adapter", {"decoder", "matching", "prompt"}),
        ("no-text-guidance", set(FACTORS)),
        ("score-map", {"prompt"}),
    ],
)
def test_only_the_components_that_a_row_trains_are_searched(name: str, parts: set[str]) -> None:
    score = Scorer(name)
    score.found()
    moved = {part for rates in score.asked for part in FACTORS if getattr(rates, part) != 1}
    assert moved == parts


def test_a_component_is_searched_with_what_was_chosen_before() -> None:
    asked = list[LearningRates]()

    def score(configs: Sequence[WeakCLIPConfig]) -> list[tuple[float, ...]]:
        """A decoder at a tenth of the rate is best, and then prompts at the rate of the decoder."""
        asked.extend(each.rates for each in configs)
        return [(-2 * abs(each.rates.decoder - 0.1) - abs(each.rates.decoder - each.rates.prompt),)
                for each in configs]  # fmt: skip

    found = search_rates(UNSEARCHED["no-matching"], score)
    assert found[-1].rates == LearningRates(decoder=0.1, prompt=0.1)
    assert len(asked) == len(set(asked))
    assert {rates.decoder for rates in asked[3:]} == {0.1}


def test_the_table_says_what_was_chosen_and_what_is_missing(tmp_path: Path) -> None:
    tried = {"full": Scorer("full").found()}
    page, rows = write_rates(tried, ["plain-fpn"], "conditions", tmp_path)
    assert "| full | 0.1 | 1 | 0.02 | 10 | 41.0 | 11.0 |" in page.read_text()
    assert "Not searched yet: plain-fpn" in page.read_text()
    lines = rows.read_text().splitlines()
    assert len(lines) == 1 + len(tried["full"])
    assert [line for line in lines if line.endswith(",yes")] == [lines[-1]]
