from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest

from bench.cli import main
from bench.cost.counts import flop_costs, whole_flops
from bench.cost.load import Load, Measured
from bench.cost.plan import options_for
from bench.cost.scaling import Fit, count_flops, fit, points, read_scaling
from bench.cost.scaling_figure import draw_scaling
from bench.cost.scaling_table import COLUMNS, curves, scaling_csv, scaling_markdown
from bench.cost.subject import class_names, make_subject, random_batch
from bench.errors import BenchError
from weakclip.config import MICRO
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from pathlib import Path


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
    assert fit([1, 2, 4], [5, 40, 320]) == Fit(exponent=3.0, last=3.0)
    bent = fit([1, 10, 100], [1, 1, 100])
    assert (bent.exponent, bent.last) == (1.0, 2.0)
    with pytest.raises(ValueError, match="two different values"):
        fit([3, 3], [1, 2])


def test_curves_have_the_exponent_of_what_was_measured() -> None:
    found = {curve.quantity: curve for curve in curves(made_up())}
    exponents = {name: curve.fitted.exponent for name, curve in found.items() if curve.fitted}
    assert exponents == {"time": 3.0, "memory": 1.0, "flops": 2.0}
    assert found["time"].costs == (1.0, 8.0, 64.0, None)
    assert found["time"].notes[3].startswith("out of memory")


def test_tables_and_figure_are_functions_of_the_file() -> None:
    rows = list(csv.DictReader(io.StringIO(scaling_csv(made_up()))))
    assert tuple(rows[0]) == COLUMNS
    assert {row["status"] for row in rows} == {"ok", "out of memory"}
    text = scaling_markdown(made_up())
    assert "| time, ms | micro | forward | 1 | 8 | 64 | out of memory | 3.00 | 3.00 |" in text
    assert draw_scaling(made_up(), format_="svg") == draw_scaling(made_up(), format_="svg")
    other = made_up()
    other["flops"][0]["flops"] += 1
    assert draw_scaling(other, format_="svg") != draw_scaling(made_up(), format_="svg")


def test_one_thing_varies_at_a_time() -> None:
    options = replace(options_for("cpu", quick=True, compiled=False), sizes=("micro",))
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


def test_flops_are_those_of_the_profile() -> None:
    model = make_subject(MICRO, "micro").model.to("meta").train()
    found, parts = count_flops(model, 2, 128), flop_costs(MICRO, "micro", 2)
    whole = whole_flops(MICRO, "micro", 2)
    text = parts["text tower"]
    assert found["forward"] == whole.forward - text.forward
    assert found["text"] == text.forward + text.backward
    # The step's backward pass goes through the text as well.
    assert found["training step"] == whole.forward + whole.backward


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
    content = read_scaling(tmp_path / "perf/scaling.json")
    assert {speed["status"] for speed in content["speeds"]} == {"ok"}
    table = (tmp_path / "tables/scaling.csv").read_bytes()
    (tmp_path / "tables/scaling.csv").unlink()
    assert main(["profile", "--scaling", "--rebuild", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "tables/scaling.csv").read_bytes() == table


def test_refuses_a_file_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "scaling.json"
    path.write_text(json.dumps({"schema_version": 0}))
    with pytest.raises(BenchError, match="expected schema_version 1, got 0"):
        read_scaling(path)
    path.write_text("[")
    with pytest.raises(BenchError, match="--scaling` makes it"):
        read_scaling(path)
