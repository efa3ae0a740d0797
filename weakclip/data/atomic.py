"""Atomic writes: a file is written under a temporary name and then renamed.

The content is flushed to the disk before the rename. So a power failure leaves either the old or
the new file, never one without its content.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_LONGEST = 255
"""Longest name in bytes on most file systems."""


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary sibling of `path` to write to; it replaces `path` at the end of the block.

    Each writer has its own, also on several machines. The folder must exist; the name may have the
    maximum length. If the block raises (a full disk, Ctrl-C), the temporary file is removed and
    `path` is not changed. `durable` waits until the content is on the disk; unnecessary for files
    that are made again when they cannot be read.
    """
    end, label = f".{secrets.token_hex(4)}.tmp", path.name
    if len(os.fsencode(f".{label}{end}")) > _LONGEST:
        label = hashlib.sha256(os.fsencode(label)).hexdigest()[:16]
    temporary = path.with_name(f".{label}{end}")
    try:
        yield temporary
        if durable:
            _put(temporary, path)
        else:
            temporary.replace(path)
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _put(temporary: Path, path: Path) -> None:
    """Flush a closed file in the folder of `path`, rename it to `path`, then flush the folder."""
    with temporary.open("r+b") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    with suppress(OSError):  # some systems cannot open or flush a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path` with `replacing`; line ends are not converted."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
