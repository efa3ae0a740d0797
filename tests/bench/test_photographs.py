"""The command line on a miniature of VOC: every row of the comparison, and masks for elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.cartoon.world import WorldConfig
from bench.cartoon.write import write_voc
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.voc import list_voc
from weakclip.masking.plan import MICRO_RECIPE
from weakclip.stages.words import MICRO_BACKGROUND

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "clip": "random-micro", "size": "micro", "splits.train": "train", "framing.size": 64,
    "views": 3, "scales": [1.0, 0.5], "max_side": 96, "recipe.iterations": 2, "most_steps": 2,
    "recipe.batch_size": 2, "recipe.warmup": 1, "recipe.learning_rate": MICRO_RECIPE.learning_rate,
    "words.background": list(MICRO_BACKGROUND), "words.template": "a photo of a {}.",
}  # fmt: skip


def run(folder: Path, study: str, *more: str) -> tuple[dict[str, Any], Path]:
    """The result of a study on a miniature of VOC, and where the records are."""
    root = folder / "VOC2012"
    write_voc(root, WorldConfig(size=96), seed=3, splits={"train": 4, "val": 2})
    changes = [f"{path}={json.dumps(value)}" for path, value in SETTINGS.items()]
    words = ["run", study, "--preset", "voc", "--data-root", str(root), "--set", *changes,
             "--out", str(folder / "results"), "--artifacts", str(folder / "artifacts"),
             "--workers", "2", "--seeds", "0", "--device", "cpu", *more]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["failed"] == 0
    (name,) = result["study"]
    return result, folder / "results" / "runs" / name


def test_the_comparison_runs_on_photographs(tmp_path: Path) -> None:
    result, runs = run(tmp_path, "comparison")
    assert result["runs"] >= 19
    assert runs.name.startswith("comparison-set-")
    record = json.loads(next(runs.rglob("*.json")).read_text())
    assert record["protocol"]["recipe"]["iterations"] == 2
    assert record["protocol"]["largest_side"] == 96
    weclip = json.loads((runs / "weclip" / "seed0.json").read_text())
    assert weclip["config"]["refinement"]["recipe"]["steps"] == 2


def test_the_masks_of_all_training_images_are_written_on_request(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    _, runs = run(tmp_path, "components", "--variants", "full", "--write-masks", str(masks))
    files = list_voc(tmp_path / "VOC2012", "train")
    for kind in ("scores", "crf"):
        folder = masks / runs.name / "full-seed0" / kind
        assert sorted(path.stem for path in folder.iterdir()) == sorted(
            Path(name).stem for name in files.names
        )
        for index, name in enumerate(files.names):
            labels = read_mask(folder / f"{Path(name).stem}.png")
            assert labels.shape == files.image(index).shape[1:]
            allowed = {0, *(files.image_labels[index].nonzero()[:, 0] + 1).tolist()}
            assert set(np.unique(labels).tolist()) <= allowed
