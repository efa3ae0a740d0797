from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from bench.cartoon.world import WorldConfig
from bench.gates import gates
from bench.studies.preset import SMOKE, Generated
from bench.tasks.task import ImageWorkbench, open_workbench
from weakclip.convnet.backbone import MICRO_BACKBONE, Stages
from weakclip.convnet.classifier import ClassifierMasker
from weakclip.stages.maps import CLIPMaps
from weakclip.stages.seeds import PatchSoftmax

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> ImageWorkbench:
    torch.set_num_threads(1)
    folder: Path = tmp_path_factory.mktemp("gates")
    return open_workbench(SMOKE, None, torch.device("cpu"), folder)


def test_a_random_clip_recognises_nothing_and_fails(bench: ImageWorkbench) -> None:
    gate = gates.zero_shot(bench, count=100)
    assert gate.figures["top-1"] < 0.3
    assert not gate.passed


def test_another_world_than_the_centre_is_named_in_records(bench: ImageWorkbench) -> None:
    assert "world" not in bench.data
    crowded = WorldConfig(unnamed_objects=2.0)
    drawn = Generated(images={"train": 4, "val": 2, "tune": 1}, world=crowded)
    other = replace(SMOKE, generated=drawn)
    moved = open_workbench(other, None, torch.device("cpu"), bench.artifacts)
    assert moved.data["world"] == {"kind": "WorldConfig", **moved.data["world"]}  # type: ignore[dict-item]


def test_the_best_threshold_is_a_score(bench: ImageWorkbench) -> None:
    assert 0 < gates.best_threshold(bench, CLIPMaps(source=PatchSoftmax())) < 1


def test_full_supervision_of_a_few_steps_fails(bench: ImageWorkbench) -> None:
    retraining = gates.full_supervision(None)
    short = replace(retraining, recipe=replace(retraining.recipe, iterations=2), scales=(1.0,))
    assert not gates.ceiling(bench, short).passed


def test_the_classifier_starts_from_the_file_of_the_backbone(
    bench: ImageWorkbench, tmp_path: Path
) -> None:
    saved = Stages(replace(MICRO_BACKBONE, weights=None)).network_state()
    file = tmp_path / "backbone.safetensors"
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor
               for name, tensor in saved.items()}, file)  # fmt: skip
    started = gates.pretrained_cam(str(file)).build(bench.setting)
    assert isinstance(started, ClassifierMasker)
    loaded = started.network.stages.network_state()
    assert list(loaded) == list(saved)
    assert all(torch.allclose(loaded[name], saved[name], atol=1e-3) for name in saved)


def test_the_gates_of_the_backbone_run_and_refuse_random_weights(
    bench: ImageWorkbench, tmp_path: Path
) -> None:
    file = tmp_path / "random.safetensors"
    random = replace(MICRO_BACKBONE, weights=None)
    save_file(Stages(random).network_state(), file)
    cam = gates.pretrained_cam(str(file))
    short = replace(cam.classifier, recipe=replace(cam.classifier.recipe, epochs=1))
    cam = replace(cam, classifier=short, scales=(1.0,))
    assert not gates.classifier_maps(bench, cam).passed
    figures = gates.lifts(bench, cam, str(file)).figures
    assert list(figures) == ["CAM", "with CRF", "with random walk"]
    assert all(0 <= value < 1 for value in figures.values())
