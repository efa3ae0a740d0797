"""Files that are whole or not there: written under a temporary name, then renamed.

The content is on the disk before the name is, so that a machine that loses power leaves the old
file or the new one, never one of the right size without its content.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_LONGEST = 255
"""Bytes of a name, on most file systems."""


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary sibling of `path` to write to; it takes the place of `path` at the end.

    If the block raises (a full disk, Ctrl-C), the temporary file is removed and what was at
    `path` stays as it was.

    Args:
        path: Target; its folder must exist. Its name may be as long as a name can be.
        durable: Whether to wait until the content is on the disk; not for what is made again when
            it cannot be read.
    """
    end, label = f".{os.getpid()}.tmp", path.name
    if len(os.fsencode(f".{label}{end}")) > _LONGEST:
        label = hashlib.sha256(os.fsencode(label)).hexdigest()[:16]
    temporary = path.with_name(f".{label}{end}")
    try:
        yield temporary
        if durable:
            put(temporary, path)
        else:
            temporary.replace(path)
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def put(temporary: Path, path: Path) -> None:
    """Rename a closed file once its content is on the disk, and have the folder there as well.

    Args:
        temporary: In the folder of `path`.
        path: Its new name.

    Raises:
        OSError: If the content cannot be brought to the disk, or the file cannot be renamed.
    """
    with temporary.open("r+b") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    with suppress(OSError):  # no way to open a folder, or to wait for it, on this system
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path` with `replacing`; line ends are kept as they are."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
