from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
import torch

from bench.cli import main
from bench.cost.lines import limits, seconds
from bench.cost.load import Load, Measured, Task
from bench.cost.plan import WORKS, Omission, loads, omissions, options_for
from bench.cost.profile import read_profile, run_apart
from bench.cost.rates import Rates, measure_rates
from bench.cost.roofline import draw_roofline
from bench.cost.table import COLUMNS, csv_text, markdown, work_flops
from bench.cost.worker import TrafficCounter, measure, timed
from bench.errors import BenchError
from bench.studies.study import load_study

if TYPE_CHECKING:
    from pathlib import Path


def line(**changes: Any) -> Load:  # noqa: ANN401 (fields of any kind)
    values: dict[str, Any] = {
        "study": "components", "variant": "baseline", "size": "micro", "work": "forward",
        "batch": 2, "repeats": 2,
    }  # fmt: skip
    return Load(**{**values, **changes})


def rates(**changes: dict[str, float]) -> Rates:
    """Of a device that multiplies in half precision and emulates its convolutions."""
    measured = {
        "matmul_flops": {"fp32": 1e12, "bf16": 6e12, "fp16": 0.9e12},
        "convolution_flops": {"fp32": 8e11, "bf16": 4e12, "fp16": 1e9},
    }
    return Rates(**{**measured, **changes}, copy_bytes=20e9)


def made_up() -> dict[str, Any]:
    """2 calls of 10 and 20 ms for two images of 3 + 6 GFLOP and a text of 1 + 2."""
    flops = [("image tower", 3e9, 6e9), ("text tower", 1e9, 2e9)]
    measured = Measured(
        status="ok", milliseconds=(20.0, 10.0), traffic_bytes=100_000_000, peak_memory_mib=50.0
    )
    failed = Measured(status="out of memory", error="RuntimeError: out | of memory")
    return {
        "schema_version": 1,
        "environment": {
            "command": "python -m bench profile", "device": "abacus", "threads": 1, "cores": 2,
            "versions": {"torch": "2"}, "commit": "c" * 40, "dirty": False, "classes": 21,
            "started_utc": "2026-01-01T00:00:00Z", "sides": {"micro": 128}, "load_before": 0.5,
        },
        "rates": asdict(rates()),
        "costs": [
            {
                "variant": "baseline", "size": "micro", "component": name,
                "parameters": {"total": 10, "trainable": 4, "dead": 1},
                "flops": {"forward": forward, "backward": backward},
            }
            for name, forward, backward in flops
        ],
        "speeds": [
            {**asdict(line()), **asdict(measured)},
            {**asdict(line(work="training step")), **asdict(measured)},
            {**asdict(line(batch=9)), **asdict(failed)},
        ],
        "release_costs": [
            {"error": None, "size": "micro", "batch": 2, "ratio": 1.5},
            {"error": "no result", "size": "paper"},
        ],
    }  # fmt: skip


def test_the_csv_holds_what_the_file_says() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(made_up()))))
    assert tuple(rows[0]) == COLUMNS
    forward = {row["metric"]: float(row["value"]) for row in rows if row["work"] == "forward"}
    assert forward["rate"] == 2 / 0.010
    assert (forward["latency p50"], forward["latency p95"]) == (10.0, 20.0)
    assert forward["share of arithmetic limit"] == pytest.approx(0.006 / 0.010)
    (failed,) = (row for row in rows if row["status"] == "out of memory")
    assert (failed["batch"], failed["metric"]) == ("9", "failed")


def test_a_training_step_costs_the_text_once_a_batch() -> None:
    profile = made_up()
    forward, step, _ = profile["speeds"]
    assert work_flops(forward, profile) == 2 * 3e9
    assert work_flops(step, profile) == 2 * 9e9 + 3e9


def test_the_binding_limit_is_the_longer_one() -> None:
    profile = made_up()
    speed = profile["speeds"][0]
    rates = profile["rates"]
    assert limits(speed, 6e9, rates) == pytest.approx((6e9 / 1e12, 0.1e9 / 20e9))
    assert "arithmetic" in markdown(profile)
    profile["rates"]["copy_bytes"] = 1e9
    assert "| memory | 1000% |" in markdown(profile)
    assert limits(profile["speeds"][2], 1.0, rates) is None


def test_the_ratio_with_the_release_is_a_row() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(made_up()))))
    (ratio,) = (row for row in rows if row["metric"] == "release over ours")
    assert (ratio["size"], ratio["batch"], ratio["value"]) == ("micro", "2", "1.5")
    assert [row["size"] for row in rows if row["error"] == "no result"] == ["paper"]
    assert "- micro size: **1.50**" in markdown(made_up())


def test_quantiles_are_times_that_were_measured() -> None:
    speed = {"milliseconds": [float(number) for number in range(20, 0, -1)]}
    assert (seconds(speed), seconds(speed, 0.95)) == (0.010, 0.019)


def test_markdown_and_figure_are_functions_of_the_file() -> None:
    assert markdown(made_up()) == markdown(made_up())
    assert r"out of memory: RuntimeError: out \| of memory" in markdown(made_up())
    assert draw_roofline(made_up(), format_="svg") == draw_roofline(made_up(), format_="svg")


def test_other_precisions_are_timed_for_the_reference_only() -> None:
    study = load_study("components")
    found = loads(options_for("cpu", quick=False, compiled=True), study)
    others = {load.variant for load in found if load.precision != "fp32" or load.mode != "eager"}
    assert others == {study.reference.name}
    assert {load.variant for load in found} == {row.name for row in study.rows}
    assert len(set(found)) == len(found)


def test_compiled_lines_are_few() -> None:
    study = load_study("components")
    for device, expected in (("cpu", 4), ("cuda", 12)):
        found = loads(options_for(device, quick=False, compiled=True), study)
        compiled = [load for load in found if load.mode == "compiled"]
        assert len(compiled) == expected
        assert {load.batch for load in compiled} == {1}
    found = loads(options_for("cpu", quick=False, compiled=False), study)
    assert {load.mode for load in found} == {"eager"}


def test_a_precision_has_lines_where_it_was_measured_to_be_fast() -> None:
    options, study = options_for("cpu", quick=True, compiled=False), load_study("components")
    (half,) = without = omissions(options, rates())
    assert (half.what, half.works) == ("fp16", ("training step",))
    assert half.reason == "a convolution with its gradients reaches 1 GFLOP/s, in fp32 800"
    found = {(load.precision, load.work) for load in loads(options, study, without)}
    assert found == {(name, work) for name in ("fp32", "bf16") for work in WORKS} | {
        ("fp16", "forward")
    }


def test_a_precision_that_is_slow_or_missing_has_no_lines() -> None:
    options = options_for("cpu", quick=True, compiled=False)
    products = {"fp32": 1e12, "bf16": 4.9e11}
    assert omissions(options, rates(matmul_flops=products)) == (
        Omission(
            what="bf16", works=WORKS, reason="a matrix product reaches 490 GFLOP/s, in fp32 1e+03"
        ),
        Omission(what="fp16", works=WORKS, reason="a matrix product has no kernel"),
    )


def test_without_a_compiler_nothing_is_compiled_and_the_table_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = options_for("cpu", quick=False, compiled=True)
    fast = rates(convolution_flops=dict.fromkeys(("fp32", "bf16", "fp16"), 1e12))
    monkeypatch.setenv("CXX", "no-such-compiler")
    without = omissions(options, fast)
    assert [each.what for each in without] == ["compiled"]
    assert "compiled" not in {
        load.mode for load in loads(options, load_study("components"), without)
    }
    profile = {**made_up(), "left_out": [asdict(each) for each in without]}
    said = "Without lines: compiled (forward, training step): torch.compile needs a C++ compiler"
    assert f"{said}, and there is no no-such-compiler." in markdown(profile)
    rows = list(csv.DictReader(io.StringIO(csv_text(profile))))
    gone = [(row["mode"], row["work"]) for row in rows if row["status"] == "left out"]
    assert gone == [("compiled", work) for work in WORKS]
    assert "Without lines" not in markdown(made_up())


def test_an_operator_without_a_kernel_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(call=lambda: torch.linalg.inv(torch.eye(2, dtype=torch.float16)))
    monkeypatch.setattr("bench.cost.worker._task", lambda _: task)
    measured = measure(line(precision="fp16"))
    assert (measured.status, measured.milliseconds) == ("failed", ())
    assert "not supported. Got Half" in str(measured.error)


def test_calls_end_after_their_seconds_but_there_are_two() -> None:
    for took, expected in ((100.0, 5), (4_000.0, 3), (60_000.0, 2)):
        assert timed(iter([took] * 5).__next__, line(repeats=5)) == [took] * expected


def test_running_out_of_memory_is_a_row() -> None:
    measured = run_apart(line(batch=10**13), timeout=120)
    assert (measured.status, measured.milliseconds) == ("out of memory", ())
    assert measured.error


def test_a_peak_of_memory_is_not_the_one_of_the_process_that_asked() -> None:
    held = torch.ones(1 << 28)  # 1 GiB
    measured = run_apart(line(), timeout=120)
    assert measured.status == "ok"
    assert measured.base_memory_mib is not None
    assert measured.peak_memory_mib is not None
    assert 50 < measured.base_memory_mib <= measured.peak_memory_mib < held.nbytes / 2**20


def test_an_unknown_variant_is_a_row_with_its_error() -> None:
    measured = run_apart(line(variant="fulll"), timeout=120)
    assert measured.status == "failed"
    assert "did you mean 'full'" in str(measured.error)


def test_a_line_that_takes_too_long_is_given_up() -> None:
    assert run_apart(line(), timeout=0.01).status == "timed out"


@pytest.mark.slow
def test_a_quick_profile_writes_its_files(tmp_path: Path) -> None:
    command = ["profile", "--quick", "--device", "cpu", "--out", str(tmp_path)]
    assert main(command) == 0
    content = read_profile(tmp_path / "perf/profile.json")
    assert {speed["status"] for speed in content["speeds"]} == {"ok"}
    assert [speed["precision"] for speed in content["speeds"]][:2] == ["fp32", "fp32"]
    (release,) = content["release_costs"]
    assert (release["error"], release["size"]) == (None, "micro")
    assert all(speed["peak_memory_mib"] > 100 for speed in content["speeds"])
    table = (tmp_path / "tables/profile.csv").read_bytes()
    (tmp_path / "tables/profile.csv").unlink()
    assert main(["profile", "--rebuild", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "tables/profile.csv").read_bytes() == table


def test_traffic_counts_operands_once_and_views_never() -> None:
    left, right = torch.ones(4, 5), torch.ones(5, 3)
    with TrafficCounter() as traffic:
        _ = left.T.T @ right
    assert traffic.bytes == 4 * (20 + 15 + 12)


def test_rates_are_those_of_a_device() -> None:
    measured = measure_rates("cpu", 1, repeats=1)
    assert measured.matmul_flops["fp32"] > 1e8
    assert measured.convolution_flops["fp32"] > 1e8
    assert measured.copy_bytes > 1e7


def test_refuses_a_profile_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({"schema_version": 0}))
    with pytest.raises(BenchError, match="expected schema_version 1, got 0"):
        read_profile(path)
    path.write_text("[")
    with pytest.raises(BenchError, match="not a readable profile"):
        read_profile(path)


def test_refuses_a_load_that_times_nothing() -> None:
    with pytest.raises(ValueError, match="2 repeats"):
        line(repeats=1)
