"""Every corruption against a count by hand on small masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.oracle.corruption import CORRUPTIONS, Corruption, corrupted
from bench.report.response import precision_and_coverage
from weakclip.ops.confusion import class_counts

SIZE = 24


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Two objects of class 1, one of class 3, a void line; grass left, water right."""
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    mask[2:8, 2:9] = 1
    mask[12:20, 3:7] = 1
    mask[9:15, 12:20] = 3
    mask[8, 2:9] = 255
    image = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    image[:, :11], image[:, 11:] = (60, 160, 60), (60, 90, 200)
    image[mask == 1], image[mask == 3] = (200, 30, 30), (230, 230, 230)
    return mask, image


MASK, IMAGE = drawn()
TRUTH = np.where(MASK == 255, 0, MASK)
OBJECTS = [np.zeros_like(MASK, dtype=bool) for _ in range(3)]
OBJECTS[0][2:8, 2:9] = OBJECTS[1][12:20, 3:7] = OBJECTS[2][9:15, 12:20] = True


def made(
    corruption: Corruption, strength: float, seed: int = 0, tags: tuple[int, ...] = (1, 3)
) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return corrupted(MASK, IMAGE, tags, corruption, strength, generator)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_strength_0_is_the_truth_and_nothing_is_made_up(corruption: Corruption) -> None:
    assert np.array_equal(made(corruption, 0), TRUTH)
    found = made(corruption, 0.7)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= {0, 1, 3}
    assert np.array_equal(found, made(corruption, 0.7))


@pytest.mark.parametrize("corruption", ["parts", "eroded", "missing"])
@pytest.mark.parametrize("seed", range(5))
def test_what_loses_pixels_stays_inside_the_truth_and_loses_more_when_stronger(
    corruption: Corruption, seed: int
) -> None:
    weaker = TRUTH
    for strength in (0.2, 0.5, 0.8, 1):
        found = made(corruption, strength, seed)
        assert not ((found > 0) & (found != weaker)).any()
        weaker = found
    assert not weaker.any()


@pytest.mark.parametrize("seed", range(5))
def test_the_pixels_of_a_part_that_stay_are_the_nearest_to_one_of_them(seed: int) -> None:
    found = made("parts", 0.7, seed)
    for region in OBJECTS:
        left = np.argwhere(region & (found > 0))
        assert len(left) == region.sum() - round(0.7 * region.sum())
        gone = np.argwhere(region & (found == 0))

        def farthest(centre: np.ndarray, left: np.ndarray = left) -> float:
            return float(((left - centre) ** 2).sum(1).max())

        assert any(farthest(c) <= ((gone - c) ** 2).sum(1).min() for c in left)


def test_erosion_is_by_distance_to_whatever_is_not_the_object() -> None:
    found = made("eroded", 0.5)
    for region in OBJECTS:
        outside = np.argwhere(~np.pad(region, 1))
        inner = {
            place: np.sqrt(((outside - np.add(place, 1)) ** 2).sum(1).min())
            for place in map(tuple, np.argwhere(region))
        }
        limit = 0.5 * max(inner.values())
        for place, distance in inner.items():
            assert (found[place] == 0) == (distance <= limit)


def test_dilation_reaches_as_far_as_it_says_and_takes_background_alone() -> None:
    found = made("dilated", 0.6)
    assert np.array_equal(found[TRUTH > 0], TRUTH[TRUTH > 0])
    for place in map(tuple, np.argwhere(TRUTH == 0)):
        reached: dict[float, int] = {}
        for region in OBJECTS:
            distance = np.sqrt(((np.argwhere(region) - place) ** 2).sum(1).min())
            if distance <= 0.6 * np.sqrt(region.sum() / np.pi):
                reached.setdefault(distance, int(TRUTH[region][0]))
        assert found[place] == (reached[min(reached)] if reached else 0)


def test_a_leak_has_the_area_it_says_and_goes_into_what_surrounds_the_object() -> None:
    found = made("leakage", 0.5)
    assert np.array_equal(found[TRUTH > 0], TRUTH[TRUTH > 0])
    for label in (1, 3):
        area = sum(round(0.5 * region.sum()) for region in OBJECTS if TRUTH[region][0] == label)
        assert ((found == label) & (TRUTH == 0)).sum() == area
    water = IMAGE[..., 2] == 200
    assert water[(found == 3) & (TRUTH == 0)].all()
    assert not water[(found == 1) & (TRUTH == 0)].any()


def test_flipped_objects_have_another_tag_and_about_as_many_as_it_says() -> None:
    flips = []
    for seed in range(400):
        found = made("flipped", 0.3, seed, tags=(1, 3, 7))
        assert np.array_equal(found > 0, TRUTH > 0)
        assert set(np.unique(found)) <= {0, 1, 3, 7}
        for region in OBJECTS:
            assert len(np.unique(found[region])) == 1
            flips.append(found[region][0] != TRUTH[region][0])
    assert np.mean(flips) == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / len(flips)))
    assert np.array_equal(made("flipped", 1, tags=(1,))[OBJECTS[0]], TRUTH[OBJECTS[0]])
    assert (made("flipped", 1)[OBJECTS[2]] == 1).all()


def test_about_as_many_objects_are_missing_as_it_says_and_each_as_a_whole() -> None:
    gone = []
    for seed in range(400):
        found = made("missing", 0.25, seed)
        for region in OBJECTS:
            gone.append(not found[region].any())
            assert gone[-1] or np.array_equal(found[region], TRUTH[region])
    assert np.mean(gone) == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / len(gone)))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_precision_and_coverage_are_those_of_a_count_pixel_by_pixel(corruption: Corruption) -> None:
    seeds, right, seeded, annotated = made(corruption, 0.6, 1), 0, 0, 0
    for place in np.ndindex(MASK.shape):
        if MASK[place] != 255:
            seeded += int(seeds[place] > 0)
            annotated += int(MASK[place] > 0)
            right += int(MASK[place] > 0 and seeds[place] == MASK[place])
    masks = [torch.from_numpy(each[None].astype(np.int64)) for each in (seeds, MASK)]
    counts = class_counts(masks[0], masks[1], 4).numpy()
    assert precision_and_coverage(counts) == (right / seeded, right / annotated)
    assert np.isnan(precision_and_coverage(0 * counts)[0])


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"strength of parts: expected 0 to 1, got 1.5"):
        made("parts", 1.5)
    with pytest.raises(ValueError, match="expected one of parts, "):
        made("blurred", 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected an image of the mask's"):
        corrupted(MASK, IMAGE[1:], (1,), "parts", 0.5, np.random.default_rng(0))
