from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from baselines import catalogue
from baselines.classifier import MICRO_CAM, TagNetwork
from bench.cli import main
from bench.cost.baselines import TAGS, baseline_task, baseline_work, dead_parameters, random_inputs
from bench.cost.load import Load, Measured
from bench.cost.plan import baseline_loads, options_for
from bench.cost.profile import run_apart
from bench.cost.table import csv_text, markdown
from bench.cost.worker import TrafficCounter
from bench.errors import BenchError
from tests.bench.cost.test_profile import made_up

if TYPE_CHECKING:
    from pathlib import Path

    from baselines.backbone import Backbone

NAMES = list(baseline_work("micro"))


def line(name: str, **changes: Any) -> Load:  # noqa: ANN401 (fields of any kind)
    work, _ = baseline_work("micro")[name]
    values: dict[str, Any] = {
        "study": "baselines", "variant": name, "size": "micro", "work": work, "batch": 2,
        "repeats": 2, "warmup": 0,
    }  # fmt: skip
    return Load(**{**values, **changes})


def with_baselines() -> dict[str, Any]:
    profile = made_up()
    measured = Measured(
        status="ok", milliseconds=(40.0, 20.0), traffic_bytes=1, peak_memory_mib=60.0,
        flops=3_000_000_000, parameters={"backbone": {"total": 5_000_000, "trainable": 2_000_000}},
    )  # fmt: skip
    failed = Measured(status="timed out", error="no result")
    profile["baselines"] = {
        "environment": profile["environment"],
        "speeds": [
            {**asdict(line("cam")), **asdict(measured)},
            {**asdict(line("pamr")), **asdict(failed)},
        ],
    }
    return profile


def test_every_baseline_is_there_at_both_sizes() -> None:
    assert list(baseline_work("paper")) == NAMES
    assert {"cam", "naclip", "caa", "denseclip"} < set(NAMES)
    lines = baseline_loads(options_for("cpu", quick=False, compiled=False))
    assert {(load.size, load.variant) for load in lines} == {
        (size, name) for size in ("micro", "paper") for name in NAMES
    }
    assert max(load.batch for load in lines if load.size == "paper") == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_does_its_whole_step(name: str) -> None:
    task = baseline_task(line(name))
    output = task.call()
    assert isinstance(output, torch.Tensor)
    work, _ = baseline_work("micro")[name]
    if work == "cam":
        assert output.shape[:2] == (2, 20)
        tags = random_inputs("micro", 2, "cpu").image_labels
        assert not output[~tags].any()
    elif work == "refinement":
        assert output.shape == (2, 21, 128, 128)
    else:
        assert output.shape == (2, 128, 128)
    assert task.parameters is not None
    assert (task.parameters == {}) == (name in ("pamr", "dense-crf"))


def test_inputs_have_two_tags_and_maps_of_them_alone() -> None:
    inputs = random_inputs("micro", 3, "cpu")
    assert inputs.image_labels.sum(dim=1).tolist() == [TAGS] * 3
    assert inputs.images.dtype == torch.uint8
    assert inputs.cams.shape == (3, 20, 8, 8)
    assert not inputs.cams[~inputs.image_labels].any()


def test_flops_are_counted_as_torch_counts_them() -> None:
    call = baseline_task(line("maskclip")).call
    with FlopCounterMode(display=False) as theirs:
        call()
    with TrafficCounter() as ours:
        call()
    assert ours.flops == theirs.get_total_flops() > 0


def test_gradients_of_a_map_are_counted() -> None:
    counts = []
    for name in ("cam", "grad-cam"):
        with TrafficCounter() as counter:
            baseline_task(line(name)).call()
        counts.append(counter.flops)
    assert counts[1] > 1.5 * counts[0]


def test_a_baseline_has_a_process_of_its_own() -> None:
    measured = run_apart(line("maskclip"), timeout=120)
    assert (measured.status, len(measured.milliseconds)) == ("ok", 2)
    assert measured.flops
    assert measured.parameters == baseline_task(line("maskclip")).parameters
    assert "did you mean 'pamr'" in str(run_apart(line("pamr", variant="pammr"), timeout=120).error)


def test_flops_belong_to_the_component_whose_weights_they_use() -> None:
    first, second = torch.nn.Linear(4, 8, bias=False), torch.nn.Linear(8, 2)
    inputs = torch.ones(3, 4, requires_grad=True)
    with TrafficCounter({"first": first, "second": second}) as counter:
        hidden = first(inputs)
        hidden = hidden @ torch.ones(8, 8)  # without weights: the last ones'
        second(hidden).sum().backward()
    forward = {"first": 2 * 3 * (4 * 8 + 8 * 8), "second": 2 * 3 * 8 * 2}
    assert sum(counter.component_flops.values()) == counter.flops
    assert counter.component_flops["first"] > forward["first"]
    assert counter.component_flops["second"] > forward["second"]
    assert set(counter.component_flops) == set(forward)


@pytest.mark.parametrize("name", NAMES)
def test_every_part_with_weights_is_told_apart(name: str) -> None:
    task = baseline_task(line(name))
    assert task.parameters is not None
    assert set(task.components) == set(task.parameters)
    with TrafficCounter(task.components) as counter:
        task.call()
    assert set(counter.component_flops) <= {*task.parameters, "score map", "other"}
    assert sum(counter.component_flops.values()) == counter.flops


@pytest.mark.parametrize("name", NAMES)
def test_dead_weights_are_told_of_every_part(name: str) -> None:
    dead = dead_parameters(name, "micro")
    assert list(dead) == list(baseline_task(line(name)).parameters or {})
    assert set(dead.values()) <= {0}  # no method here has any


def test_a_trained_part_that_the_loss_does_not_see_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unheard(TagNetwork):
        """A classifier with a layer that nobody asks, in its backbone."""

        def __init__(self, backbone: Backbone, classes: int) -> None:
            super().__init__(backbone, classes)
            self.stages.unheard = torch.nn.Linear(3, 4)
            self.stages.fixed = torch.nn.Linear(5, 6).requires_grad_(requires_grad=False)

    monkeypatch.setattr("baselines.classifier.TagNetwork", Unheard)
    assert dead_parameters("cam", "micro") == {"backbone": 3 * 4 + 4, "head": 0}


def test_two_epochs_are_enough_and_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind scales that start at zero the first step leaves no gradient."""
    once = replace(MICRO_CAM.classifier, recipe=replace(MICRO_CAM.classifier.recipe, epochs=1))
    monkeypatch.setattr(catalogue, "briefly", lambda spec: replace(spec, classifier=once))
    assert dead_parameters("cam", "micro")["backbone"] > 0


def test_components_are_rows_and_lines_of_a_cell() -> None:
    profile = with_baselines()
    speed = profile["baselines"]["speeds"][0]
    speed["parameters"]["head"] = {"total": 1_000_000, "trainable": 1_000_000}
    speed["component_flops"] = {"backbone": 2_000_000_000, "head": 1_000_000_000}
    for sizes in speed["parameters"].values():
        sizes["dead"] = sizes["trainable"] // 2
    text = markdown(profile)
    parameters = "6 / 3 / 1.5<br>backbone 5 / 2 / 1<br>head 1 / 1 / 0.5"
    assert f"| {parameters} | 1.5<br>backbone 1<br>head 0.5 |" in text
    rows = list(csv.DictReader(io.StringIO(csv_text(profile))))
    found = {row["component"]: row["value"] for row in rows
             if (row["variant"], row["metric"]) == ("cam", "flops")}  # fmt: skip
    assert found == {"backbone": "2000000000", "head": "1000000000", "": "3000000000"}


def test_baselines_are_rows_and_a_section() -> None:
    text = markdown(with_baselines())
    assert "## Baselines, micro size (128 x 128" in text
    row = "| cam | image → maps | 2 | 5 / 2 | 1.5 | 100 | 20.0 | 40.0 | 2 | 60 | - |"
    assert f"{row} arithmetic | 15% |" in text
    assert "| pamr | image, maps → scores | 2 | timed out: no result | - |" in text
    assert "Baselines" not in markdown(made_up())
    rows = list(csv.DictReader(io.StringIO(csv_text(with_baselines()))))
    found = {row["metric"]: row["value"] for row in rows if row["variant"] == "cam"}
    assert found["rate"] == "100.0"
    assert found["parameters.trainable"] == "2000000"
    assert float(found["share of arithmetic limit"]) == pytest.approx(3e9 / 1e12 / 0.020)


def test_baselines_alone_need_a_profile_to_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["profile", "--baselines-only", "--quick", "--device", "cpu", "--out", str(tmp_path)]
    assert main(command) == 2
    (tmp_path / "perf").mkdir()
    (tmp_path / "perf/profile.json").write_text(json.dumps(made_up()))
    done = Measured(
        status="ok", milliseconds=(1.0,), traffic_bytes=1, peak_memory_mib=1.0, flops=1,
        parameters={},
    )  # fmt: skip
    monkeypatch.setattr("bench.cost.profile.run_apart", lambda *_, **__: done)
    assert main(command) == 0
    content = json.loads((tmp_path / "perf/profile.json").read_text())
    assert [speed["variant"] for speed in content["baselines"]["speeds"]] == NAMES
    assert content["costs"] == made_up()["costs"]


def test_without_the_catalogue_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cost.baselines.CATALOGUE", "baselines.none")
    with pytest.raises(BenchError, match="from the root of a checkout"):
        baseline_work("micro")
