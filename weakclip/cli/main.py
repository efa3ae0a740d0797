"""The command line `weakclip COMMAND`."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from weakclip.version import add_version_flag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INTERRUPTED = 130  # exit status after Ctrl-C by convention of shells
COMMANDS = {
    "masks": "images and tags in, masks out",
    "maps": "images and tags in, class activation maps out",
    "refine": "class activation maps of any source in, masks out",
    "retrain": "images and masks in, a segmentation network out",
    "predict": "label images with a network that was trained, without tags",
    "data": "make class masks and lists of VOC or COCO from the official files",
    "check": "say what is wrong with a data set",
    "eval": "score masks or maps against ground truth, and compare two results",
    "crf": "refine class probabilities with a dense CRF",
}
"""Purpose of each command; `weakclip.cli.flags.<command>` has `add_flags(parser)`, and
`weakclip.cli.<command>` has `run(args)`."""


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of a command line; imports the flags of its command alone."""
    top = argparse.ArgumentParser(prog="weakclip", description="Masks from image-level tags.")
    add_version_flag(top)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose)
        if words[:1] == [name]:
            import_module(f"weakclip.cli.flags.{name}").add_flags(command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        0 done, 1 some files failed, 2 usage error, 130 interrupted by Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser(words).parse_args(words)
    try:
        run: Callable[[argparse.Namespace], int] = import_module(f"weakclip.cli.{args.command}").run
        return run(args)
    except KeyboardInterrupt:
        sys.stderr.write(f"weakclip {args.command}: interrupted; what was written is whole\n")
        return INTERRUPTED
