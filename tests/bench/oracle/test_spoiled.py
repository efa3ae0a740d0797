from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from bench.cartoon.world import WorldConfig
from bench.oracle.spoiled import SpoiledAnnotation, SpoiledSeeds, spoiled
from bench.studies.method import MethodRow
from bench.studies.preset import SMOKE, Generated
from bench.tasks.task import open_workbench
from weakclip.stages.maps import CLIPMaps

if TYPE_CHECKING:
    from pathlib import Path

MASK = np.zeros((64, 64), dtype=np.uint8)
MASK[10:40, 10:40] = 3
MASK[30:60, 30:60] = 7
MASK[:2] = 255
TAGS = np.array([3, 7])


@pytest.mark.parametrize(("precision", "coverage"), [(1.0, 1.0), (0.85, 0.6), (0.7, 0.3)])
def test_precision_and_coverage_are_those_asked_for(precision: float, coverage: float) -> None:
    seeds = spoiled(MASK, TAGS, precision, coverage, np.random.default_rng(0))
    known = MASK != 255
    decided = seeds != 255
    assert not decided[~known].any()
    assert decided.sum() / known.sum() == pytest.approx(coverage, abs=1e-3)
    assert (seeds == MASK)[decided].mean() == pytest.approx(precision, abs=1e-3)
    assert set(np.unique(seeds)) <= {0, 3, 7, 255}


def test_errors_come_in_patches() -> None:
    seeds = spoiled(MASK, TAGS, 0.7, 1.0, np.random.default_rng(1))
    wrong = (seeds != MASK) & (MASK != 255)
    neighbours = (wrong[:, 1:] == wrong[:, :-1]).mean()
    assert neighbours > 0.9


@pytest.mark.parametrize("change", [{"precision": 0.0}, {"coverage": 1.5}])
def test_a_share_out_of_range_is_refused(change: dict[str, Any]) -> None:
    spec = SpoiledAnnotation(training=SMOKE.training(SMOKE.config), precision=0.9, coverage=0.5)
    with pytest.raises(ValueError, match="expected a share"):
        replace(spec, **change)


def test_weakclip_trains_on_them_as_a_row(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    drawn = Generated(images={"train": 8, "val": 2, "tune": 2}, world=WorldConfig())
    preset = replace(SMOKE, generated=drawn)
    bench = open_workbench(preset, None, torch.device("cpu"), tmp_path)
    spec = SpoiledAnnotation(training=preset.training(preset.config), precision=0.8, coverage=0.5)
    seeds = SpoiledSeeds(bench.images["train"], spec)
    assert torch.equal(seeds[0], seeds[0])
    other = SpoiledSeeds(bench.images["train"], replace(spec, precision=0.7))
    assert seeds.key != other.key
    row = MethodRow(cam=CLIPMaps(source=preset.source), refinement=spec)
    outcome = bench.run(row, 0, report=lambda step, total: None)
    assert set(outcome.counts) == {"train-pseudo", "train-pseudo-crf", "val-network"}
