"""The base exception of the harness, whose messages are meant for users of the command line."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class BenchError(Exception):
    """Bad input or unusable files; the message says what was expected and found, and what to do."""


class RecordError(BenchError):
    """A file that is not a complete, valid run record."""


def unknown(what: str, got: str, known: Iterable[str]) -> BenchError:
    """Return the error for a name that is not in a list, with the most similar known name.

    Example:
        >>> unknown("study", "componets", ["components", "losses"]).args[0]
        "unknown study 'componets'; did you mean 'components'? Known: components, losses"
    """
    names = sorted(known)
    close = difflib.get_close_matches(got, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return BenchError(f"unknown {what} {got!r}; {hint}Known: {', '.join(names) or '(none)'}")
