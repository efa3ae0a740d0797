from __future__ import annotations

import hashlib
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from weakclip.data.build.archive import Archive, Member, Verified, verify

if TYPE_CHECKING:
    from pathlib import Path


def published(path: Path) -> Archive:
    """An archive as if it had been published as it is."""
    content = path.read_bytes()
    return Archive(
        name=path.name, page="page", md5=hashlib.md5(content).hexdigest(), size=len(content)
    )


@pytest.fixture
def list_file(tmp_path: Path) -> Path:
    """A list on disk, and archives with it as `lists/val.txt`: a.tar and b.zip."""
    path = tmp_path / "val.txt"
    path.write_bytes(b"2007_000033\n" * 400_000)  # more than is read at a time
    with tarfile.open(tmp_path / "a.tar", "w") as tape:
        tape.add(path, "lists/val.txt")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(path, "lists/val.txt")
    return path


def compare(archive: Archive, file: Path, name: str = "lists/val.txt") -> Verified:
    member = Member(archive=archive, name=name, file=file)
    return verify(file.parent, (archive,), (member,), report=lambda _done, _total: None)


@pytest.mark.parametrize("name", ["a.tar", "b.zip"])
def test_a_file_that_lies_in_a_whole_archive_is_the_published_one(
    list_file: Path, name: str
) -> None:
    archive = published(list_file.with_name(name))
    assert compare(archive, list_file) == Verified(whole=(name,), unseen=(), differing=())
    for content in (list_file.read_bytes()[:-12], list_file.read_bytes() + b"2007_000042\n"):
        list_file.write_bytes(content)
        (line,) = compare(archive, list_file).differing
        assert f"expected lists/val.txt as in {name}, got another file" in line
    assert compare(archive, list_file, "lists/none.txt").differing


def test_an_archive_of_another_size_or_checksum_is_told_and_not_opened(list_file: Path) -> None:
    path = list_file.with_name("b.zip")
    archive = published(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    found = compare(archive, list_file)
    assert (found.whole, len(found.differing)) == ((), 1)
    assert f"expected {len(content)} bytes, got {len(content) - 1}" in found.differing[0]
    path.write_bytes(content[:-1] + b"x")
    assert f"b.zip: expected MD5 {archive.md5}, got " in compare(archive, list_file).differing[0]


def test_archives_that_are_not_there_are_named(list_file: Path, tmp_path: Path) -> None:
    tape, packed = (published(tmp_path / name) for name in ("a.tar", "b.zip"))
    (tmp_path / "a.tar").unlink()
    member = Member(archive=tape, name="lists/val.txt", file=list_file)
    steps: list[tuple[int, int]] = []
    found = verify(tmp_path, (tape, packed), (member,), report=lambda *step: steps.append(step))
    assert found == Verified(whole=("b.zip",), unseen=("a.tar",), differing=())
    assert steps
    with pytest.raises(FileNotFoundError, match=r"holds none of a\.tar$"):
        verify(tmp_path, (tape,), (), report=lambda _done, _total: None)
