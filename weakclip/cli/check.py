"""`weakclip check`: finds problems of a data set before it is used."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from weakclip.cli.console import console, progress
from weakclip.cli.findings import findings_json, findings_table
from weakclip.data.check.checks import harmful, run_checks, worst_first
from weakclip.data.check.survey import survey
from weakclip.data.read.images import ImageFacts
from weakclip.data.read.layouts import Place, open_place, read_classes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from weakclip.data.check.finding import Finding
    from weakclip.data.check.survey import Survey, Words
    from weakclip.data.read.tagged import TaggedFiles

CONTEXT = 77  # tokens of the text towers of OpenAI and open_clip


class BytePairs:
    """Checks texts for an OpenAI or open_clip text tower; imports its tokeniser only if needed."""

    def knows(self, text: str) -> bool:
        """True: byte pairs can encode every text."""
        return True

    def fits(self, text: str) -> bool:
        """Whether `text` with start and end token fits into the context."""
        if text.isascii() and "&" not in text and len(text) + 2 <= CONTEXT:
            return True  # cleaning does not lengthen such a text, and a token has at least one byte
        from weakclip.clip.tokens import BytePairTokenizer  # the import takes seconds

        return BytePairTokenizer(CONTEXT).fits(text)


def _words(clip: str) -> Words:
    """The vocabulary of the flag `--clip`."""
    if clip == "full":
        return BytePairs()
    from weakclip.clip.micro import load_micro

    return load_micro()[1]


def run(args: argparse.Namespace) -> int:
    """Check a data set; returns 0 if nothing breaks or biases a run, else 1; 2 for usage errors."""
    try:
        files = open_place(_place(args), args.layout)
        _check_usage(args, files)
        with progress("images and masks") as report:
            found = survey(files, _words(args.clip), report=report)
        findings = worst_first((*run_checks(found), *_check_maps(args, found)))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"weakclip check: {error}\n")
        return 2
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
        classes=read_classes(args.classes) if args.classes else None,
    )


def _check_maps(args: argparse.Namespace, found: Survey) -> Sequence[Finding]:
    """Findings about the maps of the images that decode; empty without `--maps`."""
    if args.maps is None:
        return ()
    from weakclip.data.formats.from_files import FromFiles  # imports torch

    files = found.files
    sizes = {
        index: facts.size
        for index, facts in enumerate(found.images)
        if isinstance(facts, ImageFacts)
    }
    source = FromFiles(folder=args.maps, format=args.format)
    names = [files.names[index] for index in sizes]
    return source.check(names, files.image_labels[list(sizes)], list(sizes.values()))


def _check_usage(args: argparse.Namespace, files: TaggedFiles) -> None:
    if not len(files):
        raise ValueError(f"{args.dir}: expected images, found none; give the folder of the images")
    if args.masks and not args.masks.is_dir():
        raise ValueError(f"--masks {args.masks}: no such folder")
    if args.examples < 0:
        raise ValueError(f"--examples: expected 0 or more, got {args.examples}")


def _show(findings: Sequence[Finding], files: TaggedFiles, examples: int) -> None:
    """Print the table of findings."""
    masks = sum(mask is not None for mask in files.masks)
    counts = f"{len(files)} images, {len(files.classes)} classes, {masks} masks"
    if findings:
        console().print(findings_table(counts, findings, examples))
    else:
        console().print(f"{counts}: nothing found")


def _summary(findings: Sequence[Finding], files: TaggedFiles, examples: int) -> dict[str, object]:
    """The content of the table, for the JSON output."""
    return {
        "images": len(files),
        "classes": len(files.classes),
        "masks": sum(mask is not None for mask in files.masks),
        "sha256": files.sha256,
        "findings": findings_json(findings, examples),
    }
