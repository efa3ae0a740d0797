from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from bench.cartoon.wide.world import WideConfig
from bench.gates import wide
from bench.studies.preset import SMOKE, Generated
from bench.tasks.task import ImageWorkbench, open_workbench
from weakclip.convnet.backbone import PRETRAINED_MICRO, Stages
from weakclip.convnet.classifier import ClassifierMasker

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> ImageWorkbench:
    torch.set_num_threads(1)
    folder: Path = tmp_path_factory.mktemp("gates")
    drawn = Generated(images={"train": 8, "val": 4, "tune": 4}, world=WideConfig())
    return open_workbench(replace(SMOKE, generated=drawn), None, torch.device("cpu"), folder)


def test_a_random_clip_recognises_nothing_and_fails(bench: ImageWorkbench) -> None:
    gate = wide.zero_shot(bench, count=100)
    assert gate.figures["top-1"] < 0.3
    assert not gate.passed


def test_another_world_than_the_presets_is_told_apart(bench: ImageWorkbench) -> None:
    assert bench.data["world"] == {"kind": "WideConfig", **bench.data["world"]}  # type: ignore[dict-item]
    old = open_workbench(SMOKE, None, torch.device("cpu"), bench.artifacts)
    assert "world" not in old.data


def test_the_classifier_starts_from_the_file_of_the_backbone(
    bench: ImageWorkbench, tmp_path: Path
) -> None:
    saved = Stages(replace(PRETRAINED_MICRO, weights=None)).network_state()
    file = tmp_path / "backbone.safetensors"
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor
               for name, tensor in saved.items()}, file)  # fmt: skip
    started = wide.pretrained_cam(str(file)).build(bench.setting)
    assert isinstance(started, ClassifierMasker)
    loaded = started.network.stages.network_state()
    assert list(loaded) == list(saved)
    assert all(torch.allclose(loaded[name], saved[name], atol=1e-3) for name in saved)


def test_the_gates_of_the_backbone_run_and_refuse_random_weights(
    bench: ImageWorkbench, tmp_path: Path
) -> None:
    file = tmp_path / "random.safetensors"
    random = replace(PRETRAINED_MICRO, weights=None)
    save_file(Stages(random).network_state(), file)
    cam = wide.pretrained_cam(str(file))
    short = replace(cam.classifier, recipe=replace(cam.classifier.recipe, epochs=1))
    cam = replace(cam, classifier=short, scales=(1.0,))
    assert not wide.classifier_maps(bench, cam).passed
    figures = wide.lifts(bench, cam, str(file)).figures
    assert list(figures) == ["CAM", "with CRF", "with random walk"]
    assert all(0 <= value < 1 for value in figures.values())
