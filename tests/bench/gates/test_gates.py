from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from bench.gates import gates
from bench.studies.preset import SMOKE
from bench.tasks.task import ImageWorkbench, open_workbench
from weakclip.clip.load import load_clip
from weakclip.stages.maps import CLIPMaps
from weakclip.stages.seeds import PatchSoftmax

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> ImageWorkbench:
    torch.set_num_threads(1)
    folder: Path = tmp_path_factory.mktemp("gates")
    return open_workbench(SMOKE, None, torch.device("cpu"), folder)


def test_the_embedded_clip_recognises_and_a_random_one_does_not() -> None:
    torch.set_num_threads(1)
    real = gates.recognition(load_clip("micro"), count=100)
    random = gates.recognition(load_clip("random-micro"), count=100)
    assert real.passed
    assert not random.passed
    assert random.figures["top-1"] < 0.3


def test_the_best_threshold_is_at_least_as_good_as_any_other(bench: ImageWorkbench) -> None:
    score = gates.best_threshold(bench, CLIPMaps(source=PatchSoftmax()))
    assert 0 < score < 1


def test_localisation_wants_the_best_cam_inside_the_window() -> None:
    assert gates.localisation({"a": 0.1, "b": 0.5}).passed
    assert not gates.localisation({"a": 0.1, "b": 0.7}).passed
    assert not gates.localisation({"a": 0.44}).passed


def test_the_baseline_must_work_and_its_affinity_help() -> None:
    names = ("Grad-CAM, block input", "Grad-CAM, block input + CAA")
    for values, passed in (((0.4, 0.5), True), ((0.3, 0.5), False), ((0.4, 0.4), False)):
        assert gates.baseline(dict(zip(names, values, strict=True))).passed is passed


def test_training_gates_run_and_refuse_random_weights(bench: ImageWorkbench) -> None:
    ceiling = gates.ceiling(bench)
    assert not ceiling.passed
    refined = gates.refinement(bench, oracle=0.4)
    assert refined.figures["gain"] == pytest.approx(
        refined.figures["train-pseudo"] - max(refined.figures["seeds by rule"], 0.4)
    )
    assert not refined.passed
