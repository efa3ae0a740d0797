from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from bench.cost.sharing import Alone, Pair, main, markdown
from bench.studies.preset import SMOKE
from bench.tasks.task import CartoonWorkbench
from weakclip.config import MICRO, SeedAndBoundary

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_is_made_anew_is_what_was_kept(tmp_path: Path) -> None:
    shared, alone = (
        kind(SMOKE, None, torch.device("cpu"), tmp_path) for kind in (CartoonWorkbench, Alone)
    )
    assert isinstance(MICRO.supervision, SeedAndBoundary)
    rows = [0, 5, 10, 15]  # each of the four kinds of view
    kept, made = (b.features(MICRO)[0].batch(rows, MICRO.supervision.crf) for b in (shared, alone))
    assert torch.equal(kept.seeds, made.seeds)
    assert torch.equal(kept.grid_images, made.grid_images)
    for ours, theirs in zip(kept.features.taps, made.features.taps, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert kept.lattices is not None
    assert made.lattices is not None


def test_the_command_runs_both_ways_and_writes_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--preset", "smoke", "--variants", "full", "baseline", "--out", str(tmp_path)]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 2
    record = json.loads((tmp_path / "sharing.json").read_text())
    assert [run["variant"] for run in record["runs"]] == ["full", "baseline"]
    assert all(run["worst_difference"] < 0.02 for run in record["runs"])
    assert (tmp_path / "sharing.md").read_text() == markdown(record)


def test_the_one_off_cost_counts() -> None:
    pair = Pair(variant="full", shared=10.0, alone=30.0, worst_difference=0.001)
    record = {"command": "c", "environment": {}, "once": 5.0, "runs": [asdict(pair), asdict(pair)]}
    table = markdown(record)
    assert "| **all** | 25.0 | 60.0 | **2.40** |" in table
    assert "0.10 points" in table
