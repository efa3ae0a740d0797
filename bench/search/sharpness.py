"""Does the dense CRF improve a network's contours less because its scores are more confident?

The CRF weighs the scores of a method, as energies -ln p, against the colours of the image. Maps
with a background have flat scores, while a network trained with a softmax has confident ones. So
the same CRF may move the contours of the map but not those of the network. Here the scores are
first changed to p^(1/T), normalised over the known labels. T is chosen without ground truth, such
that the mean entropy is nearest to that of the map alone. Everything is fitted and scored on
`tune`, which no other table reports.

Run: `python -m bench.search.sharpness`; writes `results/tables/sharpness.md` and `.csv`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.console import result, say
from bench.flags import ARTIFACTS, RESULTS
from bench.report.markup import Summary, percent
from bench.search.methods import SEED, tune_workbench
from bench.search.tables import write_table
from bench.studies.study import load_study
from bench.tasks.scoring import BATCH
from weakclip.ops.confusion import boundary_counts, boundary_width, class_counts, miou
from weakclip.progress import silent
from weakclip.stages.method import class_scores, finished
from weakclip.training.memory import BatchSize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from bench.studies.study import Study
    from bench.tasks.task import ImageWorkbench

TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0)
MAPS = ("clip-es",)
REFINEMENTS = ("alone", "plain-fpn", "weakclip")
NOTE = (
    "Scores p are replaced by p^(1/T), normalised over the known labels, before the dense CRF. "
    "`as it is`: the scores of the method, not normalised, as in all other tables. Entropy: mean "
    "over the pixels, in nats. Matched: the T whose entropy is nearest to that of the map alone as "
    "it is (normalised), which looks at no annotation. Fitted and scored on `tune`, 400 images, "
    f"seed {SEED}; boundary IoU and mIoU in percent."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpened:
    """Results of a method with one temperature."""

    method: str
    temperature: float | None
    """None: unchanged scores."""
    entropy: float
    """Mean over the pixels, nats."""
    miou: float
    """mIoU after the CRF, a fraction."""
    boundary_miou: float
    """Boundary IoU after the CRF, a fraction."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all methods and temperatures, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.search.sharpness", description=__doc__)
    parser.add_argument("--artifacts", type=Path, default=ARTIFACTS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    bench = tune_workbench(options.artifacts)
    study = load_study("comparison")
    rows = [
        row
        for maps in MAPS
        for refinement in REFINEMENTS
        for row in _measured(bench, study, f"{maps}-{refinement}")
    ]
    files = _write(rows, options.out)
    result({"rows": len(rows), "files": [path.as_posix() for path in files]})
    return 0


def sharpened(scores: Tensor, temperature: float) -> Tensor:
    """Return p^(1/T), normalised over the labels, of scores (B, K, H, W); 0 stays 0.

    Example:
        >>> p = torch.tensor([0.2, 0.8]).view(1, 2, 1, 1)
        >>> sharpened(p, 0.5).flatten()
        tensor([0.0588, 0.9412])
    """
    powered = scores.clamp(min=0).pow(1 / temperature)
    return powered / powered.sum(dim=1, keepdim=True).clamp(min=1e-12)


def mean_entropy(scores: Tensor) -> float:
    """Mean entropy over the pixels of scores (B, K, H, W), normalised first, in nats."""
    p = sharpened(scores, 1.0)
    return float(-torch.xlogy(p, p).sum(dim=1).mean())


def matched(rows: Sequence[Sharpened], entropy: float) -> Sharpened:
    """The row, of those with a temperature, whose entropy is nearest to a given one."""
    tempered = [row for row in rows if row.temperature is not None]
    return min(tempered, key=lambda row: abs(row.entropy - entropy))


def _measured(bench: ImageWorkbench, study: Study, name: str) -> list[Sharpened]:
    (variant,) = study.select((name,))
    fitted = bench.fitting.method(variant.config, SEED, {}, silent)
    data, classes = bench.images["train"], len(bench.class_names)
    rows = range(len(data))
    scored = {
        index: scores[0]
        for index, scores in class_scores(
            fitted, bench.setting, data, rows, (None,), batch=BatchSize(BATCH)
        )
        if scores is not None
    }
    scores = torch.stack([scored[index] for index in rows])
    truth = torch.stack(bench.scoring.truth("train", rows))
    width = boundary_width(int(truth.shape[1]), int(truth.shape[2]))
    found = []
    for temperature in (None, *TEMPERATURES):
        given = scores if temperature is None else sharpened(scores, temperature)
        masks = _after_crf(bench, given)
        found.append(
            Sharpened(
                method=name,
                temperature=temperature,
                entropy=mean_entropy(given),
                miou=float(miou(class_counts(masks, truth, classes).sum(dim=0))),
                boundary_miou=float(
                    miou(boundary_counts(masks, truth, classes, width=width).sum(dim=0))
                ),
            )
        )
        say(str(found[-1]))
    return found


def _after_crf(bench: ImageWorkbench, scores: Tensor) -> Tensor:
    data, setting = bench.images["train"], bench.setting
    parts = []
    for start in range(0, len(scores), BATCH):
        rows = range(start, min(start + BATCH, len(scores)))
        images, labels = data.stack(rows, setting.device)
        part = scores[start : start + BATCH].to(setting.device)
        smooth = finished(images, part, labels, bench.preset.crf, setting.memory)
        parts.append(smooth.max(dim=1).indices.cpu())
    return torch.cat(parts)


def _write(rows: Sequence[Sharpened], out: Path) -> list[Path]:
    alone = {
        row.method.rpartition("-")[0]: row.entropy
        for row in rows
        if row.method.endswith("-alone") and row.temperature is None
    }
    chosen = []
    for method in dict.fromkeys(row.method for row in rows):
        maps = next(name for name in MAPS if method.startswith(name))
        chosen.append(matched([row for row in rows if row.method == method], alone[maps]))
    texts = [
        (
            row.method, "as it is" if row.temperature is None else f"{row.temperature:g}",
            f"{row.entropy:.2f}", percent(row.miou), percent(row.boundary_miou),
            "✓" if row in chosen else "",
        )
        for row in rows
    ]  # fmt: skip
    table = Summary.of(
        "Sharpness of the scores before the dense CRF, on `tune`",
        ("method", "T", "entropy", "mIoU %", "boundary IoU %", "matched"),
        texts,
    )
    values = [
        {
            "method": row.method, "temperature": row.temperature, "entropy": row.entropy,
            "split": "tune", "miou": row.miou, "boundary_miou": row.boundary_miou,
            "matched": "yes" if row in chosen else "no",
        }
        for row in rows
    ]  # fmt: skip
    return write_table(out, "sharpness", table, [NOTE], values, by="sharpness")


if __name__ == "__main__":
    raise SystemExit(main())
