"""The last stage on the miniature VOC and in the smoke preset: a network trained on masks."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ablations.comparison import CAMS, REFINEMENTS
from bench.cartoon.world import WorldConfig
from bench.cartoon.write import write_voc
from bench.errors import BenchError
from bench.runs.record import ANNOTATION, Conditions
from bench.studies.method import GroundTruth, MethodRow, OfPreset
from bench.studies.preset import SMOKE, VOC
from bench.studies.slots import config_id, plain_config
from bench.studies.study import load_study
from bench.tasks.annotation import annotation
from bench.tasks.scoring import TASKS
from bench.tasks.task import ImageWorkbench, open_workbench
from tests.bench.fake import quiet
from weakclip.config import MICRO
from weakclip.data.formats.masks import read_mask, write_mask
from weakclip.labels import IGNORE
from weakclip.retraining.network import SmallFPN
from weakclip.stages.refine import Keep, SeedLabels
from weakclip.stages.words import MICRO_BACKGROUND, Words
from weakclip.training.views import Framing

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")
MASKS = MethodRow(
    cam=CAMS["maskclip"], refinement=SeedLabels(), retraining=OfPreset(), finish="none"
)
BOUND = MethodRow(cam=GroundTruth(), refinement=GroundTruth(), retraining=OfPreset())
SMALL = replace(
    SMOKE.retraining,
    network=SmallFPN(channels=(8, 8, 8, 8), width=8),
    recipe=replace(SMOKE.retraining.recipe, batch_size=2),
)


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VOC's layout in miniature; `trainaug` is `train`."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("voc") / "VOC2012"
    write_voc(root, WorldConfig(size=128), seed=3, splits={"train": 4, "val": 2})
    lists = root / "ImageSets" / "Segmentation"
    (lists / "trainaug.txt").write_text((lists / "train.txt").read_text())
    return root


def opened(root: Path, artifacts: Path) -> ImageWorkbench:
    preset = replace(
        VOC, clip="random-micro", config=MICRO, recipe=SMOKE.recipe, source=SMOKE.source,
        words=Words(background=MICRO_BACKGROUND), framing=Framing(size=64), views=2,
        scales=(1.0,), max_side=96, crf=SMOKE.crf, retraining=SMALL,
    )  # fmt: skip
    return open_workbench(preset, root, CPU, artifacts)


def test_a_method_gets_its_score_on_val_from_the_retrained_network(
    voc: Path, tmp_path: Path
) -> None:
    bench = opened(voc, tmp_path)
    plain = bench.run(replace(MASKS, retraining=None), 0, report=quiet)
    assert tuple(plain.counts) == TASKS[:2]
    steps: list[tuple[int, int]] = []
    found = bench.run(MASKS, 0, report=lambda *step: steps.append(step))
    assert tuple(found.counts) == TASKS
    assert found.counts["val-network"].shape == (2, 21, 3)
    for task in TASKS[:2]:
        assert np.array_equal(found.counts[task], plain.counts[task])
    assert found.parameters["retrained segmentation head"]["trainable"] > 0
    assert found.curve[-1]["step"] == 4
    assert "retraining" in found.curve[-1]
    assert found.seconds["retrain"] > 0
    assert (4, 4) in steps
    (masks,) = tmp_path.glob("masks-*")
    labels = [read_mask(path) for path in masks.glob("*.png")]
    assert len(labels) == 4
    assert any((mask == IGNORE).any() for mask in labels)  # the seeds' undecided pixels
    again = opened(voc, tmp_path).run(MASKS, 0, report=quiet)
    assert np.array_equal(again.counts["val-network"], found.counts["val-network"])
    assert found.discard is not None
    found.discard()
    assert not masks.exists()
    assert not list((tmp_path / "networks").iterdir())


def test_weakclip_with_a_retraining_is_scored_by_it(voc: Path, tmp_path: Path) -> None:
    bench = opened(voc, tmp_path)
    row = MethodRow(cam=CAMS["maskclip"], refinement=REFINEMENTS["weakclip"])
    own = bench.run(row, 0, report=quiet)
    other = bench.run(replace(row, retraining=OfPreset()), 0, report=quiet)
    assert np.array_equal(own.counts["train-pseudo"], other.counts["train-pseudo"])
    assert not np.array_equal(own.counts["val-network"], other.counts["val-network"])
    names = {name for point in other.curve for name in point}
    assert {"loss", "retraining"} <= names


def test_the_rows_of_the_paper_go_down_to_the_retrained_network(voc: Path, tmp_path: Path) -> None:
    bench = opened(voc, tmp_path)
    rows = {row.name: row for row in load_study("paper").rows}
    assert bench.preset.method(rows["release"].config).maps == bench.preset.own_maps
    for row in rows.values():
        outcome = bench.run(row.config, 0, report=quiet)
        scored = TASKS if row.name != "full-supervision" else TASKS[2:]
        assert tuple(outcome.counts) == scored
        assert outcome.parameters["retrained segmentation head"]["trainable"] > 0


def test_full_supervision_has_the_score_on_val_alone(voc: Path, tmp_path: Path) -> None:
    bench = opened(voc, tmp_path)
    outcome = bench.run(BOUND, 0, report=quiet)
    assert tuple(outcome.counts) == ("val-network",)
    assert set(outcome.parameters) == {"retrained encoder", "retrained segmentation head"}
    truth = annotation(bench.images["train"])
    assert truth[0].shape == (96, 96)  # the working size of 128 pixels
    assert IGNORE in truth[0]


def test_full_supervision_names_the_masks_that_it_learnt_from(voc: Path, tmp_path: Path) -> None:
    shutil.copytree(voc, tmp_path / "voc")
    names = []
    for index in (None, 0):
        bench = opened(tmp_path / "voc", tmp_path / "artifacts")
        conditions = Conditions.of(bench.protocol, bench.data, bench.weights)
        mask = bench.images["train"].files.masks[-1]
        assert mask is not None
        if index is not None:
            write_mask(mask, np.zeros_like(read_mask(mask)))
        data = bench.run(BOUND, 0, report=quiet).data
        assert Conditions.of(bench.protocol, {**bench.data, **data}, bench.weights) == conditions
        names.append(data[ANNOTATION])
    assert names[0] != names[1]
    drawn = open_workbench(SMOKE, None, torch.device("cpu"), tmp_path)
    assert drawn.run(BOUND, 0, report=quiet).data == {}
    assert bench.run(MASKS, 0, report=quiet).data == {}


def test_full_supervision_needs_all_masks(voc: Path, tmp_path: Path) -> None:
    bench = opened(voc, tmp_path)
    files = bench.images["train"].files
    bench.images["train"].files = replace(files, masks=(None, *files.masks[1:]))
    with pytest.raises(BenchError, match="expected a mask of every training image, got none of 1"):
        bench.run(BOUND, 0, report=quiet)


def test_rows_of_the_ground_truth_are_whole() -> None:
    with pytest.raises(ValueError, match="expected it as maps and as refinement, and a retraining"):
        MethodRow(cam=GroundTruth(), refinement=Keep(), retraining=OfPreset())
    with pytest.raises(ValueError, match="and a retraining"):
        MethodRow(cam=GroundTruth(), refinement=GroundTruth())
    with pytest.raises(ValueError, match="expected a method, got the ground truth"):
        SMOKE.method(BOUND)


def test_rows_without_a_retraining_are_described_as_before() -> None:
    described = plain_config(replace(MASKS, retraining=None, finish="crf"))
    assert set(described) == {"kind", "cam", "refinement"}
    row = MethodRow(cam=CAMS["maskclip"], refinement=REFINEMENTS["pamr"])
    assert config_id(plain_config(row)) == "1e31e955ed54"  # of the records before retraining
