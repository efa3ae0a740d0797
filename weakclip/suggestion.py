"""Help for an unknown name: the closest known name, and all known names."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def suggestion(got: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name.

    Args:
        got: The name that does not exist.
        known: The names that do.

    Example:
        >>> suggestion("dgo", ["dog", "cat"]), suggestion("owl", ["dog", "cat"])
        ("did you mean 'dog'? Known: cat, dog", 'Known: cat, dog')
    """
    names = sorted(known)
    near = difflib.get_close_matches(got, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}Known: {', '.join(names) or 'none'}"
