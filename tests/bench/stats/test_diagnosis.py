"""The cost of an error is the suite's own difference to the corrected masks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bench.runs.store import CONFUSION_SUFFIX, Store, cells_name, groups_name
from bench.stats.diagnosis import RATES, Diagnosis, diagnoses
from bench.stats.effects import counts_by_row
from bench.stats.statistics import paired_difference, pooled_miou
from tests.bench.fake import CLASSES, STUDY
from tests.bench.records import RECORD
from weakclip.evaluation.causes import contour_groups
from weakclip.evaluation.scores import error_rates
from weakclip.ops.cells import contour_bands, count_cells
from weakclip.ops.confusion import class_counts, confusion_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from bench.runs.record import RunRecord
    from bench.runs.store import Array

TASK, K, SEEDS, IMAGES = "task", len(CLASSES), 3, 8
LIGHT = ("day | near", "night | far")


def masks(seed: int) -> tuple[Tensor, Tensor]:
    """Ground truth, the same for all seeds, and prediction, (8, 24, 32)."""
    shared = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, K, (IMAGES, 3, 4), generator=shared, dtype=torch.uint8)
    gt = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    generator = torch.Generator().manual_seed(1 + seed)
    noise = torch.randint(0, K, gt.shape, generator=generator, dtype=torch.uint8)
    pred = torch.where(torch.rand(gt.shape, generator=generator) < 0.2, noise, gt.roll(seed + 1, 2))
    return gt, pred


def arrays(seed: int, *, cells: bool) -> dict[str, Array]:
    """Of a record."""
    gt, pred = masks(seed)
    found: dict[str, Array] = {
        TASK: class_counts(pred, gt, K).numpy(),
        TASK + CONFUSION_SUFFIX: confusion_matrix(pred, gt, K).numpy(),
    }
    if cells:
        found[cells_name(TASK, "contour")] = count_cells(pred, gt, contour_bands(gt, (3, 5, 9)), K)
        found[groups_name(TASK, "contour")] = np.array(contour_groups())
        light = (torch.arange(IMAGES) % 2).view(-1, 1, 1).expand(gt.shape)
        found[cells_name(TASK, "light | place")] = count_cells(pred, gt, light, K)
        found[groups_name(TASK, "light | place")] = np.array(LIGHT)
    return found


def records(store: Store, with_cells: Sequence[bool]) -> list[RunRecord]:
    protocol: dict[str, object] = {"splits": {TASK: "train"}, "main_tasks": [TASK]}
    classes = {TASK: {name: {"iou": 0.5} for name in CLASSES}}
    return [
        store.write(
            replace(RECORD, seed=seed, protocol=protocol, per_class=classes),
            arrays(seed, cells=cells),
        )
        for seed, cells in enumerate(with_cells)
    ]


def diagnosis(path: Path, with_cells: Sequence[bool] = (True,) * SEEDS) -> Diagnosis:
    store = Store(path)
    made = records(store, with_cells)
    (found,) = diagnoses(STUDY, made, counts_by_row(made, store))
    return found


def corrected_counts(place: str) -> np.ndarray:
    """(S, N, K, 3) after an error was corrected."""
    counts = []
    for seed in range(SEEDS):
        gt, pred = masks(seed)
        bands = contour_bands(gt, (3, 5, 9))
        wanted = {
            "object taken for background": (gt > 0) & (pred == 0),
            "cat and dog confused": (gt > 0) & (pred > 0),
            "up to 5 px from a contour": bands <= 1,
            "night": (torch.arange(IMAGES) % 2 == 1).view(-1, 1, 1).expand(gt.shape),
            "none": torch.zeros_like(gt, dtype=torch.bool),
        }[place]
        counts.append(class_counts(torch.where(wanted, gt, pred), gt, K).numpy())
    return np.stack(counts)


def test_costs_are_the_suites_differences_to_corrected_masks(tmp_path: Path) -> None:
    found = diagnosis(tmp_path)
    base = corrected_counts("none")
    assert found.miou == pytest.approx(pooled_miou(base).mean())
    assert (found.variant, found.task, found.seeds, found.images) == ("full", TASK, SEEDS, IMAGES)
    by_name = {cost.name: cost for cost in found.costs}
    for name in ("object taken for background", "cat and dog confused", "night",
                 "up to 5 px from a contour"):  # fmt: skip
        expected = paired_difference(corrected_counts(name), base)
        cost = by_name[name]
        assert cost.gain == pytest.approx(expected.estimate, abs=1e-12), name
        assert (cost.low, cost.high) == pytest.approx((expected.low, expected.high)), name
    gains = [cost.gain for cost in found.costs]
    assert gains == sorted(gains, reverse=True)
    assert {cost.view for cost in found.costs} >= {"light", "place", "size", "classes"}


@pytest.mark.parametrize("with_cells", [(False,) * SEEDS, (True,) + (False,) * (SEEDS - 1)])
def test_older_records_have_kinds_and_pairs_without_intervals(
    tmp_path: Path, with_cells: Sequence[bool]
) -> None:
    new, old = diagnosis(tmp_path / "new"), diagnosis(tmp_path / "old", with_cells)
    assert {cost.view for cost in old.costs} == {"kind", "class", "pair"}
    expected = {(cost.view, cost.name): cost for cost in new.costs}
    for cost in old.costs:
        same = expected[(cost.view, cost.name)]
        assert cost.gain == pytest.approx(same.gain, abs=1e-12)
        assert cost.errors == pytest.approx(same.errors)
        assert math.isnan(cost.low)
        assert math.isnan(cost.high)


def test_rates_are_means_over_seeds_and_add_up_with_the_miou(tmp_path: Path) -> None:
    found = diagnosis(tmp_path)
    pooled = corrected_counts("none").sum(axis=1)
    for name in RATES:
        assert found.rates[name] == pytest.approx(error_rates(pooled)[name].mean(axis=0))
    both = found.means["fp_rate"].estimate + found.means["fn_rate"].estimate
    assert found.miou + both == pytest.approx(1)
    over = error_rates(pooled)["over_activation"][:, 1:].mean()
    assert found.means["over_activation"].estimate == pytest.approx(over)


def test_cells_survive_a_record_and_leave_its_bytes_a_function_of_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (first, *_) = records(store, (True,) * SEEDS)
    expected = arrays(0, cells=True)
    found = store.counts(first)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    again = store.write(first, expected)
    assert again.counts_sha256 == first.counts_sha256
