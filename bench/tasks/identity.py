"""Hashes of the bytes of a data set, which tell data sets with the same file names apart.

Each file is hashed once. The hashes are cached by path, size and modification time, so that no
image is read again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING

from bench.errors import BenchError
from weakclip.data.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from weakclip.data.read.tagged import TaggedFiles

logger = logging.getLogger(__name__)

FILE = "digests.json"
"""In the folder of artifacts: path -> [size, modification time in ns, SHA-256]."""


class Digests:
    """SHA-256 of files, cached on disk."""

    def __init__(self, folder: Path) -> None:
        """Open the cache in a folder of artifacts; a damaged cache is ignored."""
        self._path = folder / FILE
        self._known: dict[str, list[object]] = {}
        self._changed = False
        if self._path.is_file():
            try:
                known = json.loads(self._path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                known = None
            if isinstance(known, dict):
                self._known = known
            else:
                logger.warning("%s: cannot be read; files are hashed again", FILE)

    def of(self, path: Path) -> str:
        """SHA-256 of a file, hexadecimal.

        Raises:
            OSError: If it cannot be read.
        """
        real = path.resolve()
        state, key = real.stat(), str(real)
        kept = self._known.get(key)
        if isinstance(kept, list) and kept[:2] == [state.st_size, state.st_mtime_ns]:
            return str(kept[2])
        with real.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[key] = [state.st_size, state.st_mtime_ns, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write new hashes to disk."""
        if self._changed:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._path, json.dumps(self._known))
            self._changed = False


def content_sha256(files: TaggedFiles, digests: Digests) -> str:
    """Hash of the contents of a split: names, tags and classes, bytes of images and masks.

    Images without a mask are allowed.

    Raises:
        BenchError: If a file cannot be read.
    """
    return _hashed(_lines(files, digests), digests)


def masks_sha256(files: TaggedFiles, indices: Iterable[int], digests: Digests) -> str:
    """Hash of the annotated masks of some images of a split, each of which has one.

    Raises:
        BenchError: If a file cannot be read.
    """
    pairs = ((files.names[index], files.masks[index]) for index in indices)
    lines = (json.dumps([name, mask and digests.of(mask)]) for name, mask in pairs)
    return _hashed(lines, digests)


def _hashed(lines: Iterable[str], digests: Digests) -> str:
    """Hash of lines; `digests`, which computing the lines fills, is saved afterwards."""
    found = hashlib.sha256()
    try:
        for line in lines:
            found.update(line.encode(errors="surrogatepass") + b"\n")
    except (OSError, ValueError) as error:
        raise BenchError(f"{error}; the data set is not whole, see `weakclip check`") from error
    digests.save()
    return found.hexdigest()


def _lines(files: TaggedFiles, digests: Digests) -> Iterator[str]:
    yield json.dumps(files.classes)
    for index, name in enumerate(files.names):
        mask = files.masks[index]
        tags = files.image_labels[index].nonzero()[:, 0].tolist()
        yield json.dumps([name, tags, digests.of(files.path(index)), mask and digests.of(mask)])
