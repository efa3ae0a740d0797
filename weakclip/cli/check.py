"""`weakclip check`: what is wrong with a data set, before hours are spent on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from weakclip.cli.console import console, progress
from weakclip.clip.micro import load_micro
from weakclip.clip.tokens import BytePairTokenizer
from weakclip.data.check.checks import harmful, run_checks
from weakclip.data.check.survey import survey
from weakclip.data.read.layouts import Place, open_place
from weakclip.printable import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from weakclip.data.check.finding import Finding
    from weakclip.data.read.tagged import TaggedFiles

CONTEXT = 77  # tokens of every OpenAI and open_clip text tower of this kind
COLOURS = {"breaks": "bold red", "biases": "yellow", "note": "dim"}


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the `check` command; `run` takes what it parses."""
    parser = subparsers.add_parser(
        "check",
        help="say what is wrong with a data set",
        description=(
            "Decode every image and mask, compare them with each other and with the tags, and "
            "print what would break or bias a run, with the fix. Exit 1 if there is such a thing."
        ),
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="the data set")
    parser.add_argument(
        "--layout",
        choices=("voc", "coco", "folder"),
        help="default: voc with JPEGImages, coco with annotations/instances_*.json, else folder",
    )
    parser.add_argument("--split", help="one list of VOC (default: all), or e.g. train2014 of COCO")
    parser.add_argument(
        "--tags", type=Path, help="labels.csv (file,labels) or a COCO JSON; default: DIR/labels.csv"
    )
    parser.add_argument("--masks", type=Path, help="folder of annotated masks (PNG)")
    parser.add_argument("--classes", type=Path, help="file of class names, one a line, by label")
    parser.add_argument(
        "--clip",
        choices=("full", "micro"),
        default="full",
        help="vocabulary: any OpenAI or open_clip model, or the embedded micro-CLIP",
    )
    parser.add_argument("--examples", type=int, default=3, help="shown per finding (default: 3)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Check a data set; returns 0 if nothing breaks or biases a run, 1 if so, 2 for usage."""
    try:
        files = open_place(_place(args), args.layout)
        _check_usage(args, files)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"weakclip check: {error}\n")
        return 2
    words = load_micro()[1] if args.clip == "micro" else BytePairTokenizer(CONTEXT)
    with progress("images and masks") as report:
        findings = run_checks(survey(files, words, report=report))
    _show(findings, files, args.examples)
    code = 1 if harmful(findings) else 0
    sys.stdout.write(json.dumps(_summary(findings, files, args.examples)) + "\n")
    return code


def _place(args: argparse.Namespace) -> Place:
    return Place(
        root=args.dir,
        split=args.split,
        tags=args.tags,
        masks=args.masks,
        classes=_read_classes(args.classes) if args.classes else None,
    )


def _read_classes(path: Path) -> tuple[str, ...]:
    """Names of a file, one a line; blank lines are skipped."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{path}: expected different class names, one a line, got {len(names)}")
    return names


def _check_usage(args: argparse.Namespace, files: TaggedFiles) -> None:
    if not len(files):
        raise ValueError(f"{args.dir}: expected images, found none; give the folder of the images")
    if args.masks and not args.masks.is_dir():
        raise ValueError(f"--masks {args.masks}: no such folder")
    if args.examples < 0:
        raise ValueError(f"--examples: expected 0 or more, got {args.examples}")


def _show(findings: Sequence[Finding], files: TaggedFiles, examples: int) -> None:
    """The table for people."""
    screen = console()
    masks = sum(mask is not None for mask in files.masks)
    counts = f"{len(files)} images, {len(files.classes)} classes, {masks} masks"
    if not findings:
        screen.print(f"{counts}: nothing found")
        return
    table = Table(title=counts, title_justify="left", show_lines=True)
    for column in ("finding", "count", "what, and first examples", "fix"):
        table.add_column(column, justify="right" if column == "count" else "left")
    for finding in findings:
        kind, colour = finding.kind, COLOURS[finding.kind.severity]
        shown = "".join(f"\n· {escape(_short(one))}" for one in finding.affected[:examples])
        table.add_row(
            f"[{colour}]{kind.severity}[/]\n{kind.name}",
            str(len(finding.affected)),
            f"{kind.what}[dim]{shown}[/]",
            kind.fix,
        )
    screen.print(table)


def _short(text: str, longest: int = 200) -> str:
    """One line that a table can hold; control characters are written out."""
    line = one_line(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _summary(findings: Sequence[Finding], files: TaggedFiles, examples: int) -> dict[str, object]:
    """What the table showed, for programs."""
    return {
        "images": len(files),
        "classes": len(files.classes),
        "masks": sum(mask is not None for mask in files.masks),
        "sha256": files.sha256,
        "findings": [
            {
                "kind": finding.kind.name,
                "severity": finding.kind.severity,
                "count": len(finding.affected),
                "examples": list(finding.affected[:examples]),
            }
            for finding in findings
        ],
    }
