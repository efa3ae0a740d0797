"""Seeds from the truth: what refinements are given is the corrupted mask, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ablations.noise import REFINERS
from bench.oracle.truth import OracleTruth
from bench.studies.method import MethodRow
from bench.studies.preset import SMOKE
from bench.tasks.task import ImageWorkbench, open_workbench
from tests.bench.fake import quiet
from weakclip.data.formats.masks import read_mask
from weakclip.stages.kept_seeds import ensure_seeds
from weakclip.stages.maps import FileMaps, ensure_maps
from weakclip.stages.seeds import OtsuBand

if TYPE_CHECKING:
    from pathlib import Path

NOISY = OracleTruth(corruption="missing", strength=0.5)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> ImageWorkbench:
    torch.set_num_threads(1)
    return open_workbench(SMOKE, None, torch.device("cpu"), tmp_path_factory.mktemp("artifacts"))


@pytest.mark.parametrize(
    "truth", [OracleTruth(), NOISY, OracleTruth(corruption="leakage", strength=1)]
)
def test_the_seeds_and_the_masks_of_the_maps_are_the_corrupted_masks(
    bench: ImageWorkbench, truth: OracleTruth
) -> None:
    data = bench.images["train"]
    maps = ensure_maps(truth, bench.setting, data, seed=0, report=quiet)
    assert isinstance(maps, FileMaps)
    seeds = ensure_seeds(maps, data, OtsuBand(), bench.setting)
    keep = REFINERS["seeds"][0].build(bench.setting)  # type: ignore[union-attr]
    gone = 0
    for place, index in enumerate(seeds.indices):
        expected = truth.seeds(data, index)
        gone += not expected.any()
        assert np.array_equal(seeds[place].numpy(), expected)
        images, tags = data.stack([index], torch.device("cpu"))
        scores = keep.scores(images, tags, maps[index][None])
        assert np.array_equal(scores.argmax(1)[0].numpy(), expected)
    assert (gone > 0) == (truth is NOISY)  # an image without any object left is one of the cases


def test_without_a_mistake_the_seeds_are_the_annotation(bench: ImageWorkbench) -> None:
    files = bench.images["train"].files
    for index, path in enumerate(files.masks):
        assert path is not None
        mask = read_mask(path)
        seeds = OracleTruth().seeds(bench.images["train"], index)
        assert np.array_equal(seeds[mask != 255], mask[mask != 255])


def test_a_row_on_the_truth_itself_scores_1_and_another_strength_shares_nothing(
    bench: ImageWorkbench,
) -> None:
    keep = REFINERS["seeds"][0]
    clean = bench.run(MethodRow(cam=OracleTruth(), refinement=keep), 0, report=quiet)
    counts = clean.counts["train-pseudo"].sum(axis=0)
    assert np.array_equal(counts[:, 0], counts[:, 1])
    assert np.array_equal(counts[:, 0], counts[:, 2])
    noisy = bench.run(MethodRow(cam=NOISY, refinement=keep), 0, report=quiet)
    assert noisy.counts["train-pseudo"][:, 1:, 0].sum() < counts[1:, 0].sum()
    assert len(list(bench.artifacts.glob("truth-*[!k]"))) >= 2


def test_an_image_without_an_annotated_mask_is_refused(
    bench: ImageWorkbench, tmp_path: Path
) -> None:
    splits = {role: images.files for role, images in bench.images.items()}
    train = replace(splits["train"], masks=(None, *splits["train"].masks[1:]))
    other = ImageWorkbench(SMOKE, {**splits, "train": train}, bench.clip, tmp_path)
    with pytest.raises(ValueError, match="expected an annotated mask to corrupt, got none"):
        ensure_maps(NOISY, other.setting, other.images["train"], seed=0, report=quiet)
