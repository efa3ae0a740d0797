from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.cost.baselines import (
    TAGS,
    baseline_call,
    baseline_parameters,
    baseline_work,
    random_inputs,
)
from bench.cost.load import Load, run_apart
from bench.cost.profile import BASELINES, loads, options_for
from bench.cost.worker import FlopCounter
from bench.errors import BenchError
from bench.studies.study import load_study

NAMES = list(baseline_work("micro"))


def line(name: str, **changes: Any) -> Load:  # noqa: ANN401 (fields of any kind)
    work, _ = baseline_work("micro")[name]
    values: dict[str, Any] = {
        "study": BASELINES, "variant": name, "size": "micro", "work": work, "batch": 2,
        "repeats": 2, "warmup": 0,
    }  # fmt: skip
    return Load(**{**values, **changes})


def test_every_baseline_is_there_at_both_sizes() -> None:
    assert list(baseline_work("paper")) == NAMES
    assert {"cam", "naclip", "caa", "denseclip"} < set(NAMES)
    rates = {"fp32": 1.0}
    all_lines = list(loads(options_for("cpu", quick=False), load_study("components"), rates))
    lines = [load for load in all_lines if load.study == BASELINES]
    assert {(load.size, load.variant) for load in lines} == {
        (size, name) for size in ("micro", "paper") for name in NAMES
    }
    assert max(load.batch for load in lines if load.size == "paper") == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_does_its_whole_step(name: str) -> None:
    output = baseline_call(line(name))()
    work, _ = baseline_work("micro")[name]
    if work == "cam":
        assert output.shape[:2] == (2, 20)
        tags = random_inputs("micro", 2, "cpu").image_labels
        assert not output[~tags].any()
    elif work == "refinement":
        assert output.shape == (2, 21, 128, 128)
    else:
        assert output.shape == (2, 128, 128)


def test_inputs_have_two_tags_and_maps_of_them_alone() -> None:
    inputs = random_inputs("micro", 3, "cpu")
    assert inputs.image_labels.sum(dim=1).tolist() == [TAGS] * 3
    assert inputs.images.dtype == torch.uint8
    assert inputs.cams.shape == (3, 20, 8, 8)
    assert not inputs.cams[~inputs.image_labels].any()


def test_weights_are_counted_by_component() -> None:
    assert baseline_parameters("cam", "micro") == {
        "backbone": {"total": 1_263_032, "trainable": 1_263_032},
        "head": {"total": 5_120, "trainable": 5_120},
    }
    assert baseline_parameters("pamr", "micro") == baseline_parameters("dense-crf", "micro") == {}
    assert baseline_parameters("denseclip", "micro")["image tower"]["trainable"] == 0


def test_flops_are_counted_as_torch_counts_them() -> None:
    call = baseline_call(line("maskclip"))
    with FlopCounterMode(display=False) as theirs:
        call()
    with FlopCounter() as ours:
        call()
    assert ours.flops == theirs.get_total_flops() > 0


def test_gradients_of_a_map_are_counted() -> None:
    counts = []
    for name in ("cam", "grad-cam"):
        with FlopCounter() as counter:
            baseline_call(line(name))()
        counts.append(counter.flops)
    assert counts[1] > 1.5 * counts[0]


def test_a_baseline_has_a_process_of_its_own() -> None:
    measured = run_apart(line("maskclip"), timeout=600)
    assert (measured.status, len(measured.milliseconds)) == ("ok", 2)
    assert measured.flops


def test_refuses_an_unknown_baseline() -> None:
    with pytest.raises(BenchError, match="did you mean 'pamr'"):
        baseline_call(line("pamr", variant="pammr"))


def test_without_the_catalogue_the_error_has_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cost.baselines.CATALOGUE", "baselines.none")
    with pytest.raises(BenchError, match="from the root of a checkout"):
        baseline_work("micro")
