"""Labels of maps are those of the rules written down again, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from weakclip.data.formats.image_maps import maps_of, with_background
from weakclip.evaluation.rules import Fixed, Own, Power, describe_rule, labels_from, parse_rule
from weakclip.stages.seeds import FixedBand, OtsuBand, seeds_from

LABELS = (3, 7)
SIZE = (9, 12)


@pytest.fixture
def values() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(4).random((2, *SIZE), dtype=np.float32)


@pytest.mark.parametrize("rule", [Fixed(0.6), Power(2.0), Power(0.5)])
def test_the_strongest_class_wins_against_the_background(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], rule: Fixed | Power
) -> None:
    labels = labels_from(maps_of(LABELS, values), LABELS, SIZE, rule)
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            pixel = values[:, row, column]
            limit = 0.6 if rule == Fixed(0.6) else (1 - pixel.max()) ** rule.exponent  # type: ignore[union-attr]
            expected = 0 if limit >= pixel.max() else LABELS[int(pixel[1] > pixel[0])]
            assert labels[row, column] == expected


def test_of_equal_scores_the_background_wins_then_the_lower_label() -> None:
    maps = maps_of(LABELS, np.full((2, 1, 1), 0.5, np.float32))
    assert labels_from(maps, LABELS, (1, 1), Fixed(0.5)).tolist() == [[0]]
    assert labels_from(maps, LABELS, (1, 1), Fixed(0.4)).tolist() == [[3]]
    own = with_background([0, 3], np.full((2, 1, 1), 0.5, np.float32), kind="probability")
    assert labels_from(own, (3,), (1, 1), Own()).tolist() == [[0]]


@pytest.mark.parametrize("rule", [OtsuBand(width=0.0), OtsuBand(), FixedBand(low=0.3, high=0.7)])
def test_bands_are_those_of_seeds(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], rule: OtsuBand | FixedBand
) -> None:
    labels = labels_from(maps_of(LABELS, values), LABELS, SIZE, rule)
    seeds = seeds_from(torch.from_numpy(values)[None], SIZE, rule)[0]
    table = {0: 0, 1: 3, 2: 7, 255: 255}
    assert labels.tolist() == [[table[int(one)] for one in row] for row in seeds]
    assert (255 in labels) == (rule != OtsuBand(width=0.0))


def test_coarse_maps_are_resized_bilinearly_before_labels_are_made(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    size = (31, 40)
    labels = labels_from(maps_of(LABELS, values), LABELS, size, Fixed(0.5))
    resized = functional.interpolate(torch.from_numpy(values)[None], size, mode="bilinear")[0]
    strength, best = resized.max(dim=0)
    expected = torch.where(strength > 0.5, torch.tensor(LABELS)[best], 0)
    assert np.array_equal(labels, expected.numpy())


def test_logits_are_resized_before_they_are_compared() -> None:
    logits = torch.randn(4, 3, 4, generator=torch.Generator().manual_seed(1))
    maps = with_background(range(4), logits.numpy(), kind="logit")
    labels = labels_from(maps, maps.labels, (12, 16), Own())
    resized = functional.interpolate(logits[None], (12, 16), mode="bilinear")[0]
    assert np.array_equal(labels, resized.argmax(dim=0).numpy())


def test_a_pixel_without_any_evidence_is_undecided() -> None:
    maps = with_background([0, 3], np.zeros((2, 1, 2), np.float32), kind="probability")
    assert labels_from(maps, (3,), (1, 2), Own()).tolist() == [[255, 255]]


@pytest.mark.parametrize("rule", [Fixed(0.3), Power(2), OtsuBand(), FixedBand()])
def test_an_image_without_classes_is_background(rule: Fixed | Power | OtsuBand | FixedBand) -> None:
    maps = maps_of((), np.zeros((0, 2, 2), np.float32))
    assert not labels_from(maps, (), (4, 4), rule).any()


@pytest.mark.parametrize("text", ["own", "0.3", "power:4", "otsu", "otsu:1", "band:0.2:0.6"])
def test_rules_are_written_as_they_are_read(text: str) -> None:
    assert describe_rule(parse_rule(text)) == text


@pytest.mark.parametrize(
    "text", ["", "otso", "power", "power:0", "band:0.6:0.2", "0.3:1", "otsu:x"]
)
def test_other_rules_are_errors(text: str) -> None:
    with pytest.raises(ValueError, match="expected own, THRESHOLD"):
        parse_rule(text)
