"""The command line on a miniature of VOC: every row of the comparison, two workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.cartoon.world import WorldConfig
from bench.cartoon.write import write_voc
from weakclip.masking.plan import MICRO_RECIPE
from weakclip.stages.words import MICRO_BACKGROUND

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "clip": "random-micro", "size": "micro", "splits.train": "train", "framing.size": 64,
    "views": 3, "scales": [1.0, 0.5], "max_side": 96, "recipe.iterations": 2,
    "recipe.batch_size": 2, "recipe.warmup": 1, "recipe.learning_rate": MICRO_RECIPE.learning_rate,
    "words.background": list(MICRO_BACKGROUND), "words.template": "a photo of a {}.",
}  # fmt: skip


def test_the_comparison_runs_on_photographs(tmp_path: Path) -> None:
    root = tmp_path / "VOC2012"
    write_voc(root, WorldConfig(size=96), seed=3, splits={"train": 4, "val": 2})
    changes = [f"{path}={json.dumps(value)}" for path, value in SETTINGS.items()]
    words = ["run", "comparison", "--preset", "voc", "--data-root", str(root), "--set", *changes,
             "--out", str(tmp_path / "results"), "--artifacts", str(tmp_path / "artifacts"),
             "--workers", "2", "--seeds", "0", "--device", "cpu"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["failed"] == 0
    assert result["runs"] >= 19
    (study,) = result["study"]
    assert study.startswith("comparison-set-")
    record = json.loads(next((tmp_path / "results/runs" / study).rglob("*.json")).read_text())
    assert record["protocol"]["recipe"]["iterations"] == 2
    assert record["protocol"]["largest_side"] == 96
