from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from bench.studies import preset as presets
from bench.studies.method import GroundTruth, MethodRow, OfPreset
from bench.studies.preset import CARTOON, CONDITIONS, SMOKE, Generated
from bench.tasks.splits import forget_redrawn
from bench.tasks.task import ImageWorkbench, open_workbench
from tests.bench.fake import quiet
from weakclip.config import MICRO

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

assert SMOKE.generated is not None
PRESET = replace(SMOKE, scoring="components", generated=replace(SMOKE.generated, redrawn=True))


@pytest.fixture(scope="module")
def bench(artifacts: Path) -> ImageWorkbench:
    return open_workbench(PRESET, None, torch.device("cpu"), artifacts)


def annotated(counts: NDArray[np.integer]) -> list[object]:
    return list(counts[..., 2].ravel().tolist())


def test_each_seed_draws_its_training_images_and_no_others(
    bench: ImageWorkbench, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(presets._PRESETS, "smoke", PRESET)
    before = set(artifacts.iterdir())
    one, two, again = (bench.run(MICRO, seed, report=quiet).counts for seed in (0, 1, 1))
    assert annotated(one["train-pseudo"]) != annotated(two["train-pseudo"])
    assert annotated(one["val-network"]) == annotated(two["val-network"])
    assert (two["train-pseudo"] == again["train-pseudo"]).all()
    made = set(artifacts.iterdir()) - before
    assert len(made) == 2
    for seed in (0, 1):
        forget_redrawn("smoke", seed, artifacts)
    assert set(artifacts.iterdir()) == before


def test_the_first_seed_has_the_images_of_the_preset(bench: ImageWorkbench) -> None:
    own, other = bench.redrawn(0), bench.redrawn(3)
    first, second, third = (each.images["train"].image(0) for each in (bench, own, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert own.images["pseudo"] is own.images["train"]
    assert other.images["val"].keys == bench.images["val"].keys


def test_what_is_redrawn_is_other_data(bench: ImageWorkbench, artifacts: Path) -> None:
    plain = open_workbench(SMOKE, None, torch.device("cpu"), artifacts)
    assert bench.data == {**plain.data, "train": "redrawn for each seed"}


def test_full_supervision_names_no_bytes_of_drawn_masks(bench: ImageWorkbench) -> None:
    row = MethodRow(cam=GroundTruth(), refinement=GroundTruth(), retraining=OfPreset())
    assert not bench.run(row, 0, report=quiet).data


def test_worlds_of_seeds_are_no_world_of_a_pretraining() -> None:
    drawn = Generated(images={"train": 8})
    assert [drawn.of_seed(seed).seed for seed in range(3)] == [2012, 1_002_012, 2_002_012]
    assert CONDITIONS.generated is not None
    assert CONDITIONS.generated.redrawn
    assert replace(CONDITIONS.generated, redrawn=False) == CARTOON.generated
