"""Per image: scores by hand, the ends of the list, and the row that differs most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.report.drilldown import SHOWN, image_iou, image_tables
from tests.bench.fake import STUDY
from tests.bench.records import RECORD

CLASSES = {"task": {name: {"iou": 0.5} for name in ("background", "cat", "dog")}}
RECORDS = [
    replace(RECORD, variant=name, per_class=CLASSES) for name in ("full", "no-adapter", "shallow")
]


def counts_of(shares: list[float]) -> np.ndarray:
    """Images with 100 pixels of cat, of which a share is found, and none of dog: (N, 3, 3)."""
    counts = np.zeros((len(shares), 3, 3), np.int64)
    counts[:, 1] = [[round(100 * share), round(100 * share), 100] for share in shares]
    return counts


def test_classes_that_are_not_in_an_image_do_not_count() -> None:
    counts = [[[50, 60, 90], [5, 5, 10], [0, 40, 0]], [[0, 9, 0], [0, 0, 0], [0, 0, 0]]]
    scores = image_iou(np.array(counts))
    assert scores[0] == (50 / 100 + 5 / 10) / 2
    assert np.isnan(scores[1])


def test_pixels_are_summed_over_seeds_before_the_score() -> None:
    """Seeds find 20 of 100 and 60 of 300 more pixels than are there: pooled, not averaged."""
    one, two = counts_of([0.2]), counts_of([0.6])
    two[0, 1, 1] += 300
    (table,) = image_tables(STUDY, RECORDS, {"full": {0: {"task": one}, 1: {"task": two}}})
    assert [cell.text for cell in table.rows[0][:3]] == ["0", "cat", f"{100 * 80 / 500:.1f}"]
    assert "n = 2 seeds" in table.title
    assert [cell.text for cell in table.rows[0][3:]] == ["–", "–", "–"]


def test_the_row_that_differs_most_is_named_with_its_sign() -> None:
    shares = {"full": [0.5, 0.6], "no-adapter": [0.4, 0.65], "shallow": [0.55, 0.3]}
    counts = {name: {0: {"task": counts_of(values)}} for name, values in shares.items()}
    (table,) = image_tables(STUDY, RECORDS, counts)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["0", "cat", "50.0", "no-adapter", "40.0", "−10.0"],
        ["1", "cat", "60.0", "shallow", "30.0", "−30.0"],
    ]


def test_only_the_worst_and_the_best_images_are_listed_worst_first() -> None:
    shares = np.linspace(0.9, 0.1, 3 * SHOWN)
    counts = {"full": {0: {"task": counts_of(list(shares))}}}
    (table,) = image_tables(STUDY, RECORDS, counts)
    images = [int(row[0].text) for row in table.rows]
    worst, best = range(3 * SHOWN - 1, 2 * SHOWN - 1, -1), range(SHOWN - 1, -1, -1)
    assert images == [*worst, *best]
    assert f"{SHOWN} worst and {SHOWN} best of {3 * SHOWN} images of train" in table.title


def test_there_is_no_table_without_the_reference() -> None:
    assert image_tables(STUDY, RECORDS, {"shallow": {0: {"task": counts_of([0.5])}}}) == ()
