"""Terminal output: progress and log on stderr, results on stdout.

This module has the two rich consoles. If stderr is not a terminal, there are no progress bars, and
each finished run is one line.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


logger = logging.getLogger(__name__)

PIPE_WIDTH = 280
"""Columns of a table when stdout is not a terminal."""


def say(text: str) -> None:
    """Write one line to stderr."""
    stderr().print(text, markup=False, highlight=False, soft_wrap=True)


def show_rows(title: str, headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Write a small table to stdout."""
    table = Table(title=title, title_justify="left")
    for header in headers:
        table.add_column(header)
    for row in rows:
        table.add_row(*map(Text, row))
    stdout().print(table)


def result(values: Mapping[str, object]) -> None:
    """Write the last line of stdout: one JSON object."""
    sys.stdout.write(json.dumps(values, allow_nan=False) + "\n")


def log_to_stderr(*, verbose: bool) -> None:
    """Send log messages to stderr; with `verbose` also debug messages of this project."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=stderr(), show_path=False)],
        force=True,
    )
    for package in ("bench", "weakclip", "baselines"):
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)


def stderr() -> Console:
    """The console for progress and messages."""
    return _CONSOLES["stderr"]


def stdout() -> Console:
    """The console for tables; `PIPE_WIDTH` wide if stdout is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


_CONSOLES = {"stderr": Console(stderr=True)}
