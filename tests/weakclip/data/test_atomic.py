from __future__ import annotations

import os
from pathlib import Path

import pytest

from weakclip.data.atomic import replacing, write_text


def test_the_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "nëw\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "nëw\r\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def half_written(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_stopped_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: BaseException
) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(type(error)):
        half_written(tmp_path / "a.txt", error)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_content_is_on_the_disk_before_the_name_and_then_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        there = (tmp_path / "a.txt").exists()
        steps.append(f"{'folder' if path == tmp_path else 'file'}, named: {there}")

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a.txt", "content")
    assert steps == ["file, named: False", "folder, named: True"]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, os.fsdecode(b"caf\xe9.txt")])
def test_any_name_that_a_file_can_have_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "content")
    assert [path.name for path in tmp_path.iterdir()] == [name]
