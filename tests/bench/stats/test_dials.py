from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.stats.dials import Measured, moved, slopes
from bench.stats.statistics import holm, paired_difference, pooled_miou, seed_noise
from bench.studies.dial import Dial, Dials, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ROWS = ("full", "plain", "no-a", "no-b")
SEEDS, IMAGES, CLASSES = (0, 1, 2, 3, 4), 200, 4
SIZE = Dial(
    name="size",
    positions=(
        Position(label="small", changes=("size=1",)),
        Position(label="centre"),
        Position(label="large", prefix="large-"),
    ),
    gains="no-a",
    towards="last",
    tasks=("task",),
)
STYLE = Dial(
    name="style",
    positions=tuple(Position(label=str(n), changes=(f"style={n}",)) for n in range(3)),
    gains="no-b",
    towards="first",
    tasks=("task",),
)
CLASS = Dial(
    name="class",
    positions=(
        Position(label="0", classes=(0,)),
        Position(label="1", changes=("size=1",), classes=(1, 2)),
        Position(label="2", changes=("style=1",), classes=(0,)),
    ),
    gains="no-a",
    towards="last",
    tasks=("task",),
)
DIALS = Dials(preset="p", rows=ROWS, dials=(SIZE, STYLE, CLASS), beside=("alone",))


def counts(share: float, seed: int, images: int) -> NDArray[np.integer]:
    """Counts of images of which about that share of each class is right, (N, K, 3)."""
    rng = np.random.default_rng([seed, round(1e6 * share), images])
    right = rng.normal(100 * share, 2, (images, CLASSES)).clip(0, 100)
    both = np.full((images, CLASSES), 100)
    return np.stack([right.round().astype(int), both, both], axis=-1)


def rows(
    *effects: float, seeds: Sequence[int] = SEEDS, prefix: str = "", images: int = IMAGES
) -> dict[str, dict[int, dict[str, NDArray[np.integer]]]]:
    """Runs of the four rows that lose so much against the first."""
    lost = dict(zip(ROWS, (0.0, *effects), strict=True))
    return {
        prefix + name: {
            seed: {
                "task": counts(0.6 - effect, seed, images),
                "task.boundary": counts(0.5 - effect, seed, images),
            }
            for seed in seeds
        }
        for name, effect in lost.items()
    }


def measured(**changed: dict[str, dict[int, dict[str, NDArray[np.integer]]]]) -> Measured:
    whole = {
        "p": {**rows(0.10, 0.04, 0.02), **rows(0.10, 0.08, 0.02, prefix="large-")},
        "p+size=1": rows(0.10, 0.01, 0.02, images=50),
        "p+style=0": rows(0.10, 0.02, 0.02),
        "p+style=1": rows(0.10, 0.02, 0.04),
        "p+style=2": rows(0.10, 0.02, 0.06),
    }
    return Measured(DIALS, "p", {**whole, **{f"p+{k}": v for k, v in changed.items()}})


def test_an_effect_is_the_paired_difference_of_its_position() -> None:
    whole = measured()
    found = {
        (each.position.label, each.row): each.difference
        for each in moved(whole)
        if each.dial is SIZE and (each.task, each.metric) == ("task", "miou")
    }
    assert len(found) == 3 * 3
    for label, preset, prefix in (
        ("small", "p+size=1", ""), ("centre", "p", ""), ("large", "p", "large-"),
    ):  # fmt: skip
        runs = whole.counts[preset]
        stacked = [np.stack([runs[prefix + row][seed]["task"] for seed in SEEDS]) for row in ROWS]
        for row, other in zip(ROWS[1:], stacked[1:], strict=True):
            expected = paired_difference(stacked[0], other)
            assert found[label, row].estimate == pytest.approx(expected.estimate)
            assert found[label, row].variance_images == pytest.approx(expected.variance_images)
        pooled = seed_noise(np.stack([pooled_miou(each) for each in stacked]))
        assert pooled is not None
        for row in ROWS[1:]:
            noise = 2 * pooled.variance / len(SEEDS)
            assert found[label, row].variance_seeds == pytest.approx(noise)


def test_two_differences_of_a_position_are_tested_and_corrected_over_the_dial() -> None:
    found = [e for e in moved(measured()) if e.dial is STYLE and e.metric == "miou"]
    tested = [each for each in found if not np.isnan(each.p_holm)]
    assert {each.row for each in tested} == {"plain", "no-b"}
    assert len(tested) == 2 * 3
    assert [each.p_holm for each in tested] == holm([e.difference.p_value for e in tested])


def test_what_was_not_run_counts_as_a_test_without_a_result() -> None:
    part = measured()
    less = Measured(DIALS, "p", {k: v for k, v in part.counts.items() if k != "p+style=2"})
    found = [e for e in moved(less) if e.dial is STYLE and e.metric == "miou"]
    tested = [each for each in found if not np.isnan(each.p_holm)]
    p_values = [each.difference.p_value for each in tested]
    assert len(tested) == 4
    assert [each.p_holm for each in tested] == holm([*p_values, 1, 1])[:4]
    assert {slope.dial.name for slope in slopes(less, 5)} == {"size", "class"}


def test_a_slope_is_that_of_a_line_through_the_effects_in_the_predicted_direction() -> None:
    whole = measured()
    found = {(slope.dial.name, slope.task): slope for slope in slopes(whole, 5)}
    by_place = {
        (each.dial.name, each.position.label, each.row): each.difference.estimate
        for each in moved(whole)
        if (each.task, each.metric) == ("task", "miou")
    }
    for dial, sign in ((SIZE, 1), (STYLE, -1)):
        effects = [by_place[dial.name, each.label, dial.gains] for each in dial.positions]
        line = np.polyfit([1, 2, 3], effects, 1)[0]
        assert found[dial.name, "task"].difference.estimate == pytest.approx(sign * line)
    assert found["size", "task"].verdict == "confirmed"
    assert found["style", "task"].verdict == "contradicted"


def test_a_slope_without_an_effect_is_undecided_and_with_few_seeds_open() -> None:
    flat = {f"style={n}": rows(0.1, 0.02, 0.03) for n in range(3)}
    (slope,) = (s for s in slopes(measured(**flat), 5) if s.dial is STYLE)
    assert slope.verdict == "undecided"
    few = {f"style={n}": rows(0.1, 0.02, 0.03 * n, seeds=(0, 1, 2)) for n in range(3)}
    (slope,) = (s for s in slopes(measured(**few), 5) if s.dial is STYLE)
    assert (slope.difference.seeds, slope.verdict) == (3, "open")


def test_positions_may_score_some_classes_only() -> None:
    whole = measured()
    found = {e.position.label: e for e in moved(whole) if e.dial is CLASS and e.row == "no-a"
             and e.metric == "miou"}  # fmt: skip
    stacked = [
        np.stack([whole.counts["p+size=1"][row][seed]["task"] for seed in SEEDS])[:, :, [2, 3]]
        for row in ("full", "no-a")
    ]
    assert found["1"].difference.estimate == pytest.approx(
        paired_difference(stacked[0], stacked[1]).estimate
    )
