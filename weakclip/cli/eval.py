"""`weakclip eval`: scores of masks or maps against ground truth, for one result or two."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING

from weakclip.cli.console import progress
from weakclip.cli.eval_tables import show
from weakclip.cli.findings import findings_json
from weakclip.data.atomic import replacing, write_text
from weakclip.data.check.checks import harmful
from weakclip.data.formats.from_files import FromFiles
from weakclip.data.formats.ids import read_ids
from weakclip.data.read.coco import COCO_CATEGORIES, coco_classes
from weakclip.data.read.layouts import CLASSES_NAME, foreground_classes
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.evaluation.causes import WIDTHS
from weakclip.evaluation.counting import Measure
from weakclip.evaluation.evaluate import evaluate
from weakclip.evaluation.report import to_csv, to_json
from weakclip.evaluation.rules import parse_rule
from weakclip.evaluation.sweep import parse_sweep

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from weakclip.evaluation.result import Evaluation
    from weakclip.evaluation.rules import MapRule
    from weakclip.evaluation.sweep import Sweep


def run(args: argparse.Namespace) -> int:
    """Evaluate; returns 0 if all listed images are scored, 1 if not, 2 for usage errors."""
    try:
        _check_outputs(args)
        evaluation = _evaluate(args)
        content = {
            **to_json(evaluation),
            "findings": findings_json(evaluation.findings, args.examples),
        }
        show(evaluation, args.examples)
        if args.csv:
            write_text(args.csv, to_csv(evaluation))
        if args.json:
            write_text(args.json, json.dumps(content, indent=1) + "\n")
        if args.figure:
            _draw(evaluation, args.figure)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"weakclip eval: {error}\n")
        return 2
    sys.stdout.write(json.dumps(content) + "\n")
    return 1 if harmful(evaluation.findings) else 0


def _evaluate(args: argparse.Namespace) -> Evaluation:
    """The evaluation specified by the flags."""
    rule: MapRule | Sweep | None = None
    if args.background is not None:
        rule = parse_rule(args.background)
    if args.sweep is not None:
        rule = parse_sweep(args.sweep)
    maps = None
    if args.maps is not None:
        maps = FromFiles(
            folder=args.maps, format=args.format, grid=args.grid, scale=args.scale,
            numbering=args.ids,
        )  # fmt: skip
    measure = Measure(
        undecided=args.undecided, missing=args.missing, ignore=args.ignore,
        boundary=tuple(args.boundary), bands=WIDTHS if args.diagnose else (),
    )  # fmt: skip
    with progress("images") as report:
        return evaluate(
            masks=args.masks, maps=maps, truth=args.truth, classes=_classes(args), rule=rule,
            against=args.against, names=read_ids(args.list) if args.list else None,
            measure=measure, absent=args.absent, processes=args.processes, report=report,
        )  # fmt: skip


def _classes(args: argparse.Namespace) -> tuple[str, ...]:
    """Names in label order, without a leading background."""
    if args.classes == "voc":
        return VOC_CLASSES
    if args.classes == "coco":
        return coco_classes(COCO_CATEGORIES, "contiguous")
    if args.classes == "coco-original":
        return coco_classes(COCO_CATEGORIES, "original")
    found = foreground_classes(args.classes, args.truth)
    if found is None:
        place = args.truth.parent / CLASSES_NAME
        raise ValueError(f"--classes: no {place}; give voc, coco or a file of names, one a line")
    return found


def _check_outputs(args: argparse.Namespace) -> None:
    """Check before counting that the requested files can be written."""
    for flag, path in (("--csv", args.csv), ("--json", args.json), ("--figure", args.figure)):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{flag} {path}: no such folder {path.parent}; make it first")
    if args.figure and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--figure: needs matplotlib, which is not here; pip install matplotlib")


def _draw(evaluation: Evaluation, path: Path) -> None:
    """Draw the curve of a sweep, or bars of IoU by class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    sides = [(evaluation.result, "result"), (evaluation.against, "against")]
    shown = [(result, name) for result, name in sides if result is not None]
    swept = [(result.sweep, name) for result, name in shown if result.sweep is not None]
    for curve, name in swept:
        axes.plot(curve.thresholds, [100 * one for one in curve.miou], label=name)
        axes.axvline(curve.thresholds[curve.best], linestyle=":", color="grey")
    if swept:
        axes.set(xlabel="threshold, chosen on this ground truth (oracle)", ylabel="mIoU, %")
    else:
        rows = [
            row for row in range(len(evaluation.classes)) if shown[0][0].scores.counts[row].any()
        ]
        for offset, (result, name) in enumerate(shown):
            places = [place + 0.4 * offset for place in range(len(rows))]
            heights = [100 * result.scores.per_class["iou"][row] for row in rows]
            axes.bar(places, heights, width=0.4, label=name)
        labels = [evaluation.classes[row] for row in rows]
        axes.set_xticks(range(len(rows)), labels, rotation=90)
        axes.set(ylabel="IoU, %")
    if len(shown) > 1:
        axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png", dpi=150)
