"""The `--version` flag of the command lines."""

from __future__ import annotations

import argparse
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class PrintVersion(argparse.Action):
    """Print the version of the installed package and exit; the version is read only then."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Print the version and exit."""
        parser.exit(message=f"weakclip {metadata.version('weakclip')}\n")


def add_version_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--version`."""
    parser.add_argument("--version", action=PrintVersion, nargs=0, help="print the version")
