from __future__ import annotations

import numpy as np
import pytest

from bench.runs.scores import score

COUNTS = np.array(
    [
        [[6, 8, 7], [1, 2, 3], [0, 0, 0]],
        [[9, 9, 9], [0, 1, 1], [0, 0, 0]],
    ]
)


def test_scores_by_hand() -> None:
    means, classes = score(COUNTS, None, ["background", "cat", "dog"])
    assert classes["background"]["iou"] == pytest.approx(15 / 18)
    assert classes["cat"] == pytest.approx({"iou": 1 / 6, "precision": 1 / 3, "recall": 1 / 4})
    assert np.isnan(classes["dog"]["iou"])
    assert means == pytest.approx(
        {
            "miou": (15 / 18 + 1 / 6) / 2,
            "mean_precision": (15 / 17 + 1 / 3) / 2,
            "mean_recall": (15 / 16 + 1 / 4) / 2,
            "pixel_accuracy": 16 / 20,
            "num_classes_scored": 2,
        }
    )


def test_boundary_scores_stand_beside() -> None:
    means, classes = score(COUNTS, COUNTS[:1], ["background", "cat", "dog"])
    assert classes["cat"]["boundary_iou"] == pytest.approx(1 / 4)
    assert means["boundary_miou"] == pytest.approx((6 / 9 + 1 / 4) / 2)


def test_counts_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected shape \(N, 2, 3\), got \(2, 3, 3\)"):
        score(COUNTS, None, ["background", "cat"])
