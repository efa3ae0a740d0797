from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli import main
from bench.cost.load import Load, Measured, run_apart
from bench.cost.profile import SCHEMA_VERSION, loads, options_for, read_versioned
from bench.cost.table import COLUMNS, csv_text, markdown, seconds
from bench.cost.worker import FlopCounter, matmul_rates, measure, timed
from bench.errors import BenchError
from bench.studies.study import load_study

RESULTS = Path(__file__).parents[3] / "results"
RATES = {"fp32": 1e12, "bf16": 6e12}


def line(**changes: Any) -> Load:  # noqa: ANN401 (fields of any kind)
    values: dict[str, Any] = {
        "study": "components", "variant": "full", "size": "micro", "work": "forward",
        "batch": 2, "repeats": 2,
    }  # fmt: skip
    return Load(**{**values, **changes})


def made_up() -> dict[str, Any]:
    """2 calls of 10 and 20 ms for two images of 3 GFLOP each."""
    measured = Measured(
        status="ok", milliseconds=(20.0, 10.0), peak_memory_mib=50.0, flops=6_000_000_000
    )
    failed = Measured(status="out of memory", error="RuntimeError: out | of memory")
    cost = {"variant": "full", "size": "micro", "study": "components"}
    cam = {"study": "baselines", "variant": "cam", "work": "cam"}
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": {
            "command": "python -m bench profile", "device": "abacus", "threads": 1, "cores": 2,
            "versions": {"torch": "2"}, "commit": "c" * 40, "dirty": False, "classes": 21,
            "started_utc": "2026-01-01T00:00:00Z", "sides": {"micro": 128}, "load_before": 0.5,
        },
        "matmul_flops": RATES,
        "costs": [
            {
                **cost, "component": "image tower",
                "parameters": {"total": 10_000_000, "trainable": 0},
                "flops": {"forward": 3_000_000_000, "backward": 0},
            },
            {
                **cost, "component": "head",
                "parameters": {"total": 2_000_000, "trainable": 1_000_000}, "flops": None,
            },
            {
                **cost, "component": "score map", "parameters": None,
                "flops": {"forward": 1_000_000_000, "backward": 2_000_000_000},
            },
            {
                **cost, "study": "baselines", "variant": "cam", "component": "backbone",
                "parameters": {"total": 5_000_000, "trainable": 4_000_000}, "flops": None,
            },
        ],
        "speeds": [
            {**asdict(line()), **asdict(measured)},
            {**asdict(line(**cam)), **asdict(measured)},
            {**asdict(line(batch=9)), **asdict(failed)},
        ],
        "release_costs": [
            {"error": None, "size": "micro", "batch": 2, "ratio": 1.5},
            {"error": "no result", "size": "paper"},
        ],
    }  # fmt: skip


def rows_of(profile: dict[str, Any]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(profile))))


def test_the_csv_holds_what_the_file_says() -> None:
    rows = rows_of(made_up())
    assert tuple(rows[0]) == COLUMNS
    forward = {row["metric"]: float(row["value"]) for row in rows if row["work"] == "forward"}
    assert forward["rate"] == 2 / 0.010
    assert (forward["latency p50"], forward["latency p95"]) == (10.0, 20.0)
    assert forward["flops"] == 3e9
    assert forward["of matmul rate"] == pytest.approx(6e9 / 0.010 / 1e12)
    (failed,) = (row for row in rows if row["status"] == "out of memory")
    assert (failed["batch"], failed["metric"]) == ("9", "failed")
    found = {row["component"]: row["value"] for row in rows if row["metric"] == "parameters.total"}
    assert found == {"image tower": "10000000", "head": "2000000", "backbone": "5000000"}


def test_the_tables_hold_what_the_file_says() -> None:
    text = markdown(made_up())
    assert "| variant | image tower | head | score map | total |" in text
    assert "| full | 10 / 0; 3 + 0 G | 2 / 1 | 1 + 2 G | 12 / 1; 4 + 2 G |" in text
    figures = "3 | 200 | 10.0 | 20.0 | 2 | 50 | 60% |"
    assert f"| micro | full | forward | 2 | fp32 | eager | 12 / 1 | {figures}" in text
    assert f"| micro | cam | cam | 2 | fp32 | eager | 5 / 4 | {figures}" in text
    assert r"| 12 / 1 | out of memory: RuntimeError: out \| of memory | - |" in text
    assert "| cam | 10" not in text  # a baseline's components are rows of the CSV alone


def test_the_ratio_with_the_release_is_a_row() -> None:
    rows = rows_of(made_up())
    ratio, none = (row for row in rows if row["metric"] == "release over ours")
    assert (ratio["size"], ratio["value"]) == ("micro", "1.5")
    assert (none["size"], none["value"], none["error"]) == ("paper", "", "no result")
    assert "- micro size: **1.50**" in markdown(made_up())


def test_quantiles_are_times_that_were_measured() -> None:
    speed = {"milliseconds": [float(number) for number in range(20, 0, -1)]}
    assert (seconds(speed), seconds(speed, 0.95)) == (0.010, 0.019)


def test_other_precisions_and_modes_are_timed_for_the_reference_only() -> None:
    study = load_study("components")
    found = list(loads(options_for("cpu", quick=False), study, RATES))
    others = {load.variant for load in found if load.precision != "fp32" or load.mode != "eager"}
    assert others == {study.reference.name}
    rows = {load.variant for load in found if load.study == study.name}
    assert rows == {row.name for row in study.rows}
    assert len(set(found)) == len(found)


def test_compiled_lines_are_few() -> None:
    study = load_study("components")
    for device, expected in (("cpu", 4), ("cuda", 8)):
        options = replace(options_for(device, quick=False), compiled=True)
        compiled = [load for load in loads(options, study, RATES) if load.mode == "compiled"]
        assert len(compiled) == expected
        assert {load.batch for load in compiled} == {1}


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not options_for("cpu", quick=False).compiled
    assert options_for("cuda", quick=False).compiled


@pytest.mark.parametrize("rates", [{"fp32": 1e12, "bf16": 4.9e11}, {"fp32": 1e12}])
def test_a_precision_that_is_emulated_or_missing_has_no_lines(rates: dict[str, float]) -> None:
    options, study = options_for("cpu", quick=True), load_study("components")
    assert {load.precision for load in loads(options, study, rates)} == {"fp32"}
    assert {load.precision for load in loads(options, study, RATES)} == {"fp32", "bf16"}


def test_an_operator_without_a_kernel_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    half = torch.eye(2, dtype=torch.float16)
    monkeypatch.setattr("bench.cost.worker._call", lambda _: (lambda: torch.linalg.inv(half), ()))
    measured = measure(line())
    assert (measured.status, measured.milliseconds) == ("failed", ())
    assert "not supported. Got Half" in str(measured.error)


def test_calls_end_after_their_seconds_but_there_are_two() -> None:
    for took, expected in ((100.0, 5), (4_000.0, 3), (60_000.0, 2)):
        assert timed(iter([took] * 5).__next__, line(repeats=5)) == [took] * expected


def test_each_call_on_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0, "queued": 0.0}
    took = iter(range(1, 100))  # milliseconds; the first two count FLOPs and warm up

    def wait() -> None:
        clock["now"], clock["queued"] = clock["now"] + clock["queued"], 0.0

    def launch() -> None:
        clock["queued"] += next(took) / 1e3

    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 << 20)
    monkeypatch.setattr("bench.cost.worker._call", lambda _: (launch, ()))
    repeats = options_for("cuda", quick=False).repeats
    measured = measure(line(device="cuda", repeats=repeats))
    assert measured.milliseconds == pytest.approx(range(3, 53))
    assert seconds(asdict(measured), 0.95) == pytest.approx(0.050)  # the 48th of 50
    assert (measured.peak_memory_mib, measured.base_memory_mib) == (3, None)


def test_running_out_of_memory_is_a_row() -> None:
    measured = run_apart(line(batch=10**13), timeout=600)
    assert (measured.status, measured.milliseconds) == ("out of memory", ())
    assert measured.error


def test_a_peak_of_memory_is_not_the_one_of_the_process_that_asked() -> None:
    held = torch.ones(1 << 28)  # 1 GiB
    measured = run_apart(line(), timeout=600)
    assert measured.status == "ok"
    assert measured.base_memory_mib is not None
    assert measured.peak_memory_mib is not None
    assert 50 < measured.base_memory_mib <= measured.peak_memory_mib < held.nbytes / 2**20


def test_an_unknown_variant_is_a_row_with_its_error() -> None:
    measured = run_apart(line(variant="fulll"), timeout=600)
    assert measured.status == "failed"
    assert "did you mean 'full'" in str(measured.error)


def test_a_line_that_takes_too_long_is_given_up() -> None:
    assert run_apart(line(), timeout=0.01).status == "timed out"


@pytest.mark.slow
def test_a_quick_profile_writes_its_files(tmp_path: Path) -> None:
    command = ["profile", "--quick", "--device", "cpu", "--out", str(tmp_path)]
    assert main(command) == 0
    content = read_versioned(tmp_path / "perf/profile.json", SCHEMA_VERSION, "")
    assert {speed["status"] for speed in content["speeds"]} == {"ok"}
    (release,) = content["release_costs"]
    assert (release["error"], release["size"]) == (None, "micro")
    assert all(speed["peak_memory_mib"] > 100 for speed in content["speeds"])
    table = (tmp_path / "tables/profile.csv").read_bytes()
    (tmp_path / "tables/profile.csv").unlink()
    assert main(["profile", "--rebuild", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "tables/profile.csv").read_bytes() == table


@pytest.mark.parametrize("flags", [[], ["--scaling"]])
def test_the_committed_tables_are_made_of_the_committed_measurements(
    flags: list[str], tmp_path: Path
) -> None:
    name = "scaling" if flags else "profile"
    (tmp_path / "perf").mkdir()
    (tmp_path / f"perf/{name}.json").write_bytes((RESULTS / f"perf/{name}.json").read_bytes())
    assert main(["profile", *flags, "--rebuild", "--out", str(tmp_path)]) == 0
    for ending in ("csv", "md"):
        table = f"tables/{name}.{ending}"
        assert (tmp_path / table).read_bytes() == (RESULTS / table).read_bytes()


def test_flops_are_those_of_torch() -> None:
    left, right = torch.ones(4, 5, requires_grad=True), torch.ones(5, 3)
    with FlopCounter() as counter:
        torch.autograd.backward((left @ right).sum())
    assert counter.flops == 2 * (2 * 4 * 5 * 3)


def test_rates_are_those_of_a_device() -> None:
    assert matmul_rates("cpu", 1, repeats=1)["fp32"] > 1e8


def test_refuses_a_profile_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({"schema_version": 1}))
    with pytest.raises(BenchError, match=r"expected schema_version 2, got 1; way out"):
        read_versioned(path, 2, "way out")
    path.write_text("[")
    with pytest.raises(BenchError, match="not readable"):
        read_versioned(path, 2, "way out")


def test_refuses_a_load_that_times_nothing() -> None:
    with pytest.raises(ValueError, match="2 repeats"):
        line(repeats=1)
