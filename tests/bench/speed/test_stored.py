"""`nox -s bench -- --save` and `-- --compare`, on a test that takes no time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.speed.stored import STORAGE, identity, last_run, main

if TYPE_CHECKING:
    from collections.abc import Callable

TEST = """
def test_a_sum(benchmark):
    benchmark.pedantic(sum, ([1, 2],), rounds=3, warmup_rounds=1)
"""
SETTINGS = Path(__file__).parents[3] / "pyproject.toml"
MACHINE = {"node": "here", "cpu": {"brand_raw": "Abacus", "count": 2, "hz_actual": [1, 0]}}


def speed(*flags: str) -> int:
    """The command on the one test, with the suite's own settings."""
    return main(["test_sum.py", "-c", str(SETTINGS), "-p", "no:cacheprovider", *flags])


def rewrite(change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the stored run says."""
    (path,) = STORAGE.rglob("*.json")
    run = json.loads(path.read_text())
    change(run)
    path.write_text(json.dumps(run))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command stores below the folder that it is called in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_sum.py").write_text(TEST)


def take(seconds: float) -> Callable[[dict[str, Any]], object]:
    def change(run: dict[str, Any]) -> None:
        (test,) = run["benchmarks"]
        test["stats"] |= dict.fromkeys(("min", "max", "mean", "median"), seconds)

    return change


@pytest.mark.usefixtures("folder")
def test_a_test_that_got_slower_fails_and_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert speed("--save") == 0
    rewrite(lambda run: run["machine_info"]["cpu"].update(hz_actual=[1, 0]))  # another clock
    rewrite(take(1e-12))
    assert speed("--compare") == 1
    said = "".join(capfd.readouterr())
    assert "Performance has regressed" in said
    assert "test_a_sum" in said.split("Performance has regressed", 1)[1]
    rewrite(take(1e3))
    assert speed("--compare") == 0


@pytest.mark.usefixtures("folder")
def test_another_machines_run_is_not_compared(capfd: pytest.CaptureFixture[str]) -> None:
    assert speed("--save") == 0
    rewrite(lambda run: run["machine_info"].update(node="elsewhere"))
    rewrite(take(1e-12))
    capfd.readouterr()
    assert speed("--compare") == 2
    said = " ".join("".join(capfd.readouterr()).split())
    assert "of 1 runs below" in said
    assert "others' are not compared" in said
    assert "test_a_sum" not in said  # nothing was timed


@pytest.mark.usefixtures("folder")
def test_without_a_run_the_way_out_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert speed("--compare") == 2
    assert "--save" in "".join(capfd.readouterr())


def test_the_last_run_of_a_machine_is_the_latest(tmp_path: Path) -> None:
    other = {**MACHINE, "cpu": {"brand_raw": "Slide rule", "count": 2}}
    for name, machine, when in (("c", MACHINE, 1), ("a", MACHINE, 2), ("b", other, 3)):
        content = {"machine_info": machine, "datetime": f"2026-01-0{when}T00:00:00"}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert last_run(tmp_path, MACHINE).name == "a.json"
    assert identity(MACHINE) == ("here", "Abacus", 2)
