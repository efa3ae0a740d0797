"""Published archives: their sources and checksums, and checks that files come from them.

The checksum of an archive covers everything in it: a list or JSON on disk that equals the one in a
valid archive is official. Checksums, sizes and their sources are given with the archives' names
(`weakclip.data.build.voc`, `weakclip.data.build.coco`).
"""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from weakclip.progress import Report

_CHUNK = 1 << 22  # bytes read at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A published file."""

    name: str
    page: str
    md5: str
    """Hexadecimal; detects damage, not manipulation."""
    size: int
    """Bytes."""

    def __str__(self) -> str:
        return f"{self.name} (MD5 {self.md5}) from {self.page}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file on disk that should be the one in an archive."""

    archive: Archive
    name: str
    """Path in the archive, e.g. annotations/instances_val2014.json."""
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Result of a comparison with archives."""

    whole: tuple[str, ...]
    """Names of the archives that equal the published ones."""
    unseen: tuple[str, ...]
    """Names of the missing archives, which could not be checked."""
    differing: tuple[str, ...]
    """Differences, one line each."""


def shortfall(what: str, found: int, expected: int, source: Archive) -> tuple[str, ...]:
    """A line with the expected and found number of pieces; none if they agree."""
    if found == expected:
        return ()
    return (f"{what}: expected {expected}, found {found}; published as {source}",)


def verify(
    folder: Path, archives: Sequence[Archive], members: Sequence[Member], *, report: Report
) -> Verified:
    """Compare archives with the published ones, and files on disk with those in valid archives.

    Archives that are not in the folder are reported as unseen; progress is in megabytes.

    Raises:
        FileNotFoundError: If the folder holds none of the archives.
        OSError: If one cannot be read.
    """
    there = [one for one in archives if (folder / one.name).is_file()]
    if not there:
        names = ", ".join(one.name for one in archives)
        raise FileNotFoundError(f"--archives {folder}: holds none of {names}")
    total = sum((folder / one.name).stat().st_size for one in there) >> 20
    read, differing = 0, []
    for one in there:
        differing += _damage(folder / one.name, one, lambda more: report(read + more, total))  # noqa: B023 (called at once)
        read += (folder / one.name).stat().st_size >> 20
    whole = [one for one in there if not any(line.startswith(one.name) for line in differing)]
    for member in members:
        if member.archive in whole and not _is_member(folder, member):
            differing.append(
                f"{member.file}: expected {member.name} as in {member.archive.name}, got another "
                "file; unpack it again"
            )
    return Verified(
        whole=tuple(one.name for one in whole),
        unseen=tuple(one.name for one in archives if one not in there),
        differing=tuple(differing),
    )


def _damage(path: Path, archive: Archive, report: Callable[[int], None]) -> list[str]:
    """A line if the file differs from the published one; the size is compared before the MD5."""
    size = path.stat().st_size
    if size != archive.size:
        return [
            f"{archive.name}: expected {archive.size} bytes, got {size}; download it again: "
            f"{archive}"
        ]
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
            report(file.tell() >> 20)
    if found.hexdigest() == archive.md5:
        return []
    return [
        f"{archive.name}: expected MD5 {archive.md5}, got {found.hexdigest()}; download it again: "
        f"{archive}"
    ]


def _is_member(folder: Path, member: Member) -> bool:
    """Whether the file on disk equals its member, byte for byte."""
    with _opened(folder / member.archive.name, member.name) as inside:
        if inside is None:
            return False
        with member.file.open("rb") as file:
            while True:
                chunk = file.read(_CHUNK)
                if chunk != inside.read(len(chunk) or 1):
                    return False
                if not chunk:
                    return True


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes] | None]:
    """An open member of a ZIP or TAR archive; None if there is no such member."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as packed, packed.open(name) as file:
                yield file
        else:
            with tarfile.open(path) as tape:
                yield tape.extractfile(name)
    except KeyError:
        yield None
