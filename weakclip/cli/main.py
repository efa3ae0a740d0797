"""`weakclip COMMAND`: the door for people with images."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from weakclip.cli import check as cli_check
from weakclip.cli import crf as cli_crf
from weakclip.cli import data as cli_data
from weakclip.cli import masks as cli_masks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INTERRUPTED = 130  # what shells expect after Ctrl-C
COMMANDS = (cli_masks, cli_data, cli_check, cli_crf)
"""One module a command, in the order of the help: `add_parser(subparsers)` and `run(args)`."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog="weakclip", description="Masks from image-level tags.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(commands).set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Returns:
        0 done, 1 some files failed, 2 wrong usage, 130 stopped by Ctrl-C.
    """
    args = parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except KeyboardInterrupt:
        sys.stderr.write(f"weakclip {args.command}: interrupted; what was written is whole\n")
        return INTERRUPTED
