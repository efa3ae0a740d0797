"""`weakclip crf`: the door for people with images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from weakclip import cli_crf

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Returns:
        0 done, 1 some files failed, 2 wrong usage.
    """
    parser = argparse.ArgumentParser(prog="weakclip", description="Masks from image-level tags.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    cli_crf.add_parser(commands)
    args = parser.parse_args(argv)
    return cli_crf.run(args)
