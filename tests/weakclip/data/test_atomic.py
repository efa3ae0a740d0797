from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weakclip.data.atomic import replacing, write_text

if TYPE_CHECKING:
    from pathlib import Path


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
