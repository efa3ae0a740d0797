"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` to write to; it takes the place of `path` at the end.

    If the block raises (a full disk, Ctrl-C), the temporary file is removed and what was at
    `path` stays as it was.

    Args:
        path: Target; its folder must exist.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path` with `replacing`; line ends are kept as they are."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
