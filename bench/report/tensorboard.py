"""Run records as TensorBoard event files: the losses during training, the scores at its end.

The event files are a copy of the records for TensorBoard, or for a tracker that reads its files
(W&B: `wandb sync`). Each run has a folder, `<study>/<variant>/seed<k>`, with the configuration as
text. An existing folder is replaced.

Run: `python -m bench.report.tensorboard STUDY --to DIR`. It needs the package tensorboard, which is
in the dependency group `trackers`.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.runs.store import Store
from bench.studies.study import load_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord


def main(argv: Sequence[str] | None = None) -> int:
    """Write the event files of a study and return 0; exits with code 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m bench.report.tensorboard", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--to", type=Path, required=True, help="folder of the event files")
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args(argv)
    try:
        study = load_study(args.study)
        records = Store(args.results).read_all(study.name, [row.name for row in study.rows])
        runs = export(records, args.to)
    except BenchError as error:
        parser.error(str(error))
    sys.stdout.write(json.dumps({"study": study.name, "runs": runs}) + "\n")
    return 0


def export(records: Sequence[RunRecord], folder: Path) -> int:
    """Write one folder of events per finished run, and return their number.

    Raises:
        BenchError: If there is no finished run, or the package tensorboard is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BenchError(
            "package tensorboard not found: install it, or the dependency group `trackers`"
        ) from error
    finished = [record for record in records if record.status == "ok"]
    if not finished:
        raise BenchError("expected records of finished runs, got none; `python -m bench run` makes")
    for record in finished:
        target = folder / record.run_id
        shutil.rmtree(target, ignore_errors=True)
        writer = SummaryWriter(str(target))
        for name, value, step in scalars(record):
            writer.add_scalar(name, value, step)
        text = f"```json\n{json.dumps(record.config, indent=1)}\n```"
        writer.add_text("config", text)
        writer.close()
    return len(finished)


def scalars(record: RunRecord) -> list[tuple[str, float, int]]:
    """Return (name, value, step) of a run: `train/<loss>`, `<task>/<metric>`, `seconds/<phase>`."""
    last = max((int(point["step"]) for point in record.curve), default=0)
    losses = [
        (f"train/{name}", value, int(point["step"]))
        for point in record.curve
        for name, value in point.items()
        if name != "step"
    ]
    scores = [
        (f"{task}/{metric}", value, last)
        for task, metrics in record.metrics.items()
        for metric, value in metrics.items()
    ]
    seconds = [(f"seconds/{phase}", value, last) for phase, value in record.seconds.items()]
    return [item for item in (*losses, *scores, *seconds) if not math.isnan(item[1])]


if __name__ == "__main__":
    raise SystemExit(main())
