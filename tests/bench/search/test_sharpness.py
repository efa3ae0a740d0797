"""Temperatures of scores before the CRF: by hand, and which one matches."""

from __future__ import annotations

import math

import pytest
import torch

from bench.search.sharpness import Sharpened, matched, mean_entropy, sharpened

SCORES = torch.tensor([[0.1, 0.4, 0.0], [0.5, 0.5, 0.0]]).T[None, :, None, :]  # (1, 3, 1, 2)


def test_scores_are_normalised_and_unknown_labels_stay_0() -> None:
    result = sharpened(SCORES, 1.0)
    assert result[0, :, 0, 0].tolist() == pytest.approx([0.2, 0.8, 0.0])
    assert sharpened(SCORES, 0.5)[0, :2, 0, 0].tolist() == pytest.approx([1 / 17, 16 / 17])
    assert sharpened(SCORES, 8.0)[0, 2].eq(0).all()
    assert not sharpened(torch.zeros(1, 2, 1, 1), 2.0).isnan().any()


def test_entropy_is_the_mean_over_pixels() -> None:
    first = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    assert mean_entropy(SCORES) == pytest.approx((first + math.log(2)) / 2)
    assert mean_entropy(sharpened(SCORES, 4.0)) > mean_entropy(SCORES)


def test_the_nearest_entropy_matches_and_the_scores_as_they_are_do_not_take_part() -> None:
    rows = [
        Sharpened(method="m", temperature=t, entropy=e, miou=0.5, boundary_miou=0.1)
        for t, e in ((None, 0.3), (1.0, 0.1), (2.0, 0.25), (4.0, 0.6))
    ]
    assert matched(rows, 0.3).temperature == 2.0
