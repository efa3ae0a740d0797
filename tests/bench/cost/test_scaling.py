from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.cost.load import Load, Measured
from bench.cost.profile import options_for
from bench.cost.scaling import COLUMNS, fit, flops_at, points, scaling_csv, scaling_markdown
from bench.cost.subject import class_names, random_batch
from weakclip.labels import IGNORE

RESULTS = Path(__file__).parents[3] / "results"


def made_up() -> dict[str, Any]:
    """Calls of side^3 microseconds, memory of side MiB, and 7 side^2 FLOP."""
    environment = {
        "command": "python -m bench profile --scaling", "device": "abacus", "threads": 1,
        "cores": 2, "versions": {"torch": "2"}, "commit": "c" * 40, "dirty": False,
        "started_utc": "2026-01-01T00:00:00Z", "load_before": 0.5,
    }  # fmt: skip
    load = Load(
        study="components", variant="full", size="micro", work="forward", batch=1, repeats=2
    )
    speeds = []
    for side in (10, 20, 40):
        times = (side**3 / 1e3, side**3 / 1e3)
        measured = Measured(
            status="ok", milliseconds=times, peak_memory_mib=100.0 + side, base_memory_mib=100.0
        )
        speeds.append({"axis": "side", "value": side, **asdict(load), **asdict(measured)})
    full = asdict(Measured(status="out of memory", error="RuntimeError: a | b"))
    speeds.append({"axis": "side", "value": 80, **asdict(load), **full})
    flops = [
        {"axis": "side", "value": side, "size": "paper", "work": "forward", "flops": 7 * side**2}
        for side in (10, 20, 40, 80)
    ]
    return {"schema_version": 1, "environment": environment, "speeds": speeds, "flops": flops}


def test_exponents_are_those_of_powers() -> None:
    assert fit([1, 2, 4], [5, 40, 320]) == (3.0, 3.0)
    assert fit([1, 10, 100], [1, 1, 100]) == (1.0, 2.0)


def test_tables_have_the_costs_and_exponents_of_what_was_measured() -> None:
    rows = list(csv.DictReader(io.StringIO(scaling_csv(made_up()))))
    assert tuple(rows[0]) == COLUMNS
    assert {row["status"] for row in rows} == {"ok", "out of memory"}
    assert [row["cost"] for row in rows if row["metric"] == "time"] == ["1.0", "8.0", "64.0", ""]
    text = scaling_markdown(made_up())
    assert "| time, ms | micro | forward | 1 | 8 | 64 | out of memory | 3.00 | 3.00 |" in text
    assert "| memory, MiB | micro | forward | 10 | 20 | 40 | out of memory | 1.00 | 1.00 |" in text
    assert "| flops, GFLOP | paper | forward |" in text
    alone = {**made_up(), "speeds": made_up()["speeds"][:1], "flops": []}
    assert "| time, ms | micro | forward | 1 | - | - |" in scaling_markdown(alone)


def test_one_thing_varies_at_a_time() -> None:
    options = options_for("cpu", quick=True)
    loads = list(
        points({"side": (224,), "batch": (4,), "classes": (50,), "prompts": (9,)}, options)
    )
    assert [(axis, value, load.work) for axis, value, load in loads] == [
        ("side", 224, "forward"), ("side", 224, "training step"),
        ("batch", 4, "forward"), ("batch", 4, "training step"),
        ("classes", 50, "forward"), ("classes", 50, "training step"),
        ("prompts", 9, "text"),
    ]  # fmt: skip
    assert [(load.side, load.batch, load.classes) for _, _, load in loads[::2]] == [
        (224, 1, None), (None, 4, None), (None, 1, 50), (None, 1, 9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("size", "axis", "value"),
    [("micro", "side", 224), ("micro", "classes", 50), ("micro", "batch", 4),
     ("micro", "prompts", 100), ("paper", "batch", 2)],
)  # fmt: skip
def test_flops_are_those_that_were_committed(size: str, axis: str, value: int) -> None:
    found = flops_at(size, axis, value)
    lines = json.loads((RESULTS / "perf/scaling.json").read_text())["flops"]
    expected = {
        line["work"]: line["flops"]
        for line in lines
        if (line["size"], line["axis"], line["value"]) == (size, axis, value)
    }
    assert expected
    assert {work: flops for work, flops in found.items() if work in expected} == expected


def test_subjects_have_as_many_classes_as_asked_for() -> None:
    assert len(class_names("micro", 50)) == 50
    assert class_names("micro", 2) == class_names("micro")[:2]
    batch = random_batch("micro", 3, side=64, classes=2)
    assert batch.images.shape == (3, 3, 64, 64)
    assert set(batch.seeds.flatten().tolist()) <= {0, 1, IGNORE}


@pytest.mark.slow
def test_a_quick_scaling_writes_its_files(tmp_path: Path) -> None:
    command = ["profile", "--scaling", "--quick", "--device", "cpu", "--out", str(tmp_path)]
    assert main(command) == 0
    content = json.loads((tmp_path / "perf/scaling.json").read_text())
    assert {speed["status"] for speed in content["speeds"]} == {"ok"}
    table = (tmp_path / "tables/scaling.csv").read_bytes()
    (tmp_path / "tables/scaling.csv").unlink()
    assert main(["profile", "--scaling", "--rebuild", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "tables/scaling.csv").read_bytes() == table
